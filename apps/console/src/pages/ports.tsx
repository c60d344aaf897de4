import type { CreatedLinkView, LinkView, PortView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { type Container, me } from '../data/live';
import { ask, Dialog } from '../ui/dialog';
import { Menu, type MenuItem } from '../ui/menu';
import {
  Ago,
  Empty,
  Field,
  type Loaded,
  Secret,
  Shown,
  Status,
  Table,
  TextField,
  useLoaded,
  WorkButton,
} from '../ui/parts';
import { say, sayFault } from '../ui/toasts';

/** How soon the ports are followed again after a failure. */
const AGAIN_MS = 2_000;

/** What listens in a container, and who may see it from outside. */
export function Ports({ container: { db_id, id } }: { readonly container: Container }): JSX.Element {
  const followed = useFollowed(db_id, id);
  const [shared, setShared] = useState<PortView>();
  const [linked, setLinked] = useState<PortView>();
  const [made, setMade] = useState<CreatedLinkView>();
  return (
    <>
      <Shown of={followed}>
        {(ports) => (
          <section class="panel" aria-label="Ports">
            {ports.length === 0 ? (
              <Empty title="Nothing listens">
                <p>A server that is started in the container appears here, with the address where it is seen.</p>
              </Empty>
            ) : (
              <Table caption="Ports on which programs listen" columns={['Port', 'Listens on', 'Seen by']} hasActions>
                {ports.map((port) => (
                  <Row
                    key={port.port}
                    container={db_id}
                    port={port}
                    onShare={() => setShared(port)}
                    onLinks={() => setLinked(port)}
                    onChange={() => void followed.reload()}
                  />
                ))}
              </Table>
            )}
          </section>
        )}
      </Shown>
      {shared && <NewLink container={db_id} port={shared.port} onClose={() => setShared(undefined)} onMade={setMade} />}
      {made && (
        <Dialog title={`A link to port ${String(made.port)}`} action="Done" isLast onClose={() => setMade(undefined)}>
          <p>Everyone with this link can see the port until the link ends. The link is shown only now.</p>
          <Secret text={made.url} label="The link" />
        </Dialog>
      )}
      {linked && <Links container={db_id} port={linked.port} onClose={() => setLinked(undefined)} />}
    </>
  );
}

/** The ports of a container, as they begin and end to listen. Not read while the page is hidden. */
function useFollowed(container: string, dockerId: string | null): Loaded<readonly PortView[]> {
  const [value, setValue] = useState<readonly PortView[]>();
  const [fault, setFault] = useState<unknown>();
  const reload = (): Promise<void> => berth.ports.list(container).then(setValue, setFault);

  useEffect(() => {
    let reading = new AbortController();
    let again: ReturnType<typeof setTimeout> | undefined;
    const read = async (signal: AbortSignal): Promise<void> => {
      for await (const message of berth.ports.follow(container, { signal })) {
        if (message.type === 'end') return;
        setFault(undefined);
        setValue(message.ports);
      }
    };
    const leave = (): void => {
      reading.abort(new Error('the page was left'));
      clearTimeout(again);
    };
    const readOn = (): void => {
      leave();
      if (document.hidden) return;
      const { signal } = (reading = new AbortController());
      read(signal).catch((error: unknown) => {
        if (signal.aborted) return;
        setFault(error);
        again = setTimeout(readOn, AGAIN_MS);
      });
    };
    readOn();
    document.addEventListener('visibilitychange', readOn);
    return () => {
      document.removeEventListener('visibilitychange', readOn);
      leave();
    };
  }, [container, dockerId]);
  return { value, fault, reload };
}

interface RowProps {
  readonly container: string;
  readonly port: PortView;
  readonly onShare: () => void;
  readonly onLinks: () => void;
  readonly onChange: () => void;
}

function Row({ container, port: { port, addresses, access, url }, onShare, onLinks, onChange }: RowProps): JSX.Element {
  const isPublic = access === 'public';
  const items: MenuItem[] = [
    { name: 'Make a link', run: onShare },
    { name: 'Links', run: onLinks },
    isPublic
      ? { name: 'Make private', run: () => void setAccess(container, port, 'private').then(onChange) }
      : { name: 'Make public', run: () => askToPublish(container, port, onChange) },
  ];
  return (
    <tr>
      <td class="mono">{port}</td>
      <td class="mono muted" data-name="listens on">
        {addresses.join(', ')}
      </td>
      <td data-name="seen by">
        <Status of={isPublic ? 'running' : 'stopped'} word={isPublic ? 'Everybody' : 'You, and who has a link'} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          {url === null ? (
            <span class="muted">previews are off</span>
          ) : (
            <>
              <WorkButton
                class="button slim"
                run={() => open(container, port)}
                aria-label={`Open port ${String(port)}`}
              >
                Open
              </WorkButton>
              <Menu label={`More for port ${String(port)}`} items={items} />
            </>
          )}
        </div>
      </td>
    </tr>
  );
}

/** Opens a preview by a link that works once. The tab is opened at once: after an answer, browsers would block it. */
async function open(container: string, port: number): Promise<void> {
  const tab = window.open('about:blank', '_blank');
  try {
    const body = { name: 'console', once: true, may_start: me.value?.scopes.includes('write') ?? false };
    const { url } = await berth.ports.createLink(container, port, body);
    if (!tab) throw new Error('The browser does not let this page open a tab. Allow it, and try again.');
    tab.opener = null;
    tab.location.replace(url);
  } catch (error) {
    tab?.close();
    throw error;
  }
}

async function setAccess(container: string, port: number, access: PortView['access']): Promise<void> {
  await berth.ports
    .setAccess(container, port, access)
    .then(() => say(`Port ${String(port)} is ${access} now.`), sayFault);
}

function askToPublish(container: string, port: number, onChange: () => void): void {
  ask({
    title: `Let everybody see port ${String(port)}?`,
    text: 'Everyone who knows the address can use the server on this port without signing in.',
    action: 'Make public',
    isDangerous: false,
    run: () => setAccess(container, port, 'public').then(onChange),
  });
}

const LIFETIMES = [
  [3_600, 'An hour'],
  [86_400, 'A day'],
  [7 * 86_400, 'A week'],
  [30 * 86_400, '30 days'],
] as const;

interface LinkProps {
  readonly container: string;
  readonly port: number;
  readonly onClose: () => void;
}

function NewLink({
  container,
  port,
  onClose,
  onMade,
}: LinkProps & { readonly onMade: (link: CreatedLinkView) => void }): JSX.Element {
  const [name, setName] = useState('');
  const [seconds, setSeconds] = useState<number>(86_400);
  const [mayStart, setMayStart] = useState(false);
  const [fault, setFault] = useState<unknown>(null);
  const make = async (): Promise<void> => {
    const body = { expires_in: seconds, may_start: mayStart, ...(name.trim() !== '' && { name: name.trim() }) };
    try {
      onMade(await berth.ports.createLink(container, port, body));
    } catch (error) {
      setFault(error);
      throw error;
    }
  };
  return (
    <Dialog title={`A link to port ${String(port)}`} action="Make the link" onClose={onClose} onSubmit={make}>
      <div class="fields">
        <TextField
          label="Name"
          hint="To recognise it by"
          fault={faultOf(fault, 'name')}
          input={{ autoComplete: 'off', maxLength: 64 }}
          value={name}
          onValue={setName}
        />
        <Field label="Works for" fault={faultOf(fault, 'expires_in')}>
          {(of) => (
            <select
              {...of}
              class="input"
              value={String(seconds)}
              onChange={(event) => setSeconds(Number(event.currentTarget.value))}
            >
              {LIFETIMES.map(([value, words]) => (
                <option key={value} value={String(value)}>
                  {words}
                </option>
              ))}
            </select>
          )}
        </Field>
      </div>
      <label class="check">
        <input type="checkbox" checked={mayStart} onChange={(event) => setMayStart(event.currentTarget.checked)} />
        Visitors with the link may start the container
      </label>
    </Dialog>
  );
}

/** The links to a port, which can be revoked. */
function Links({ container, port, onClose }: LinkProps): JSX.Element {
  const loaded = useLoaded(() => berth.ports.links(container, port), [container, port]);
  const revoke = async ({ id }: LinkView): Promise<void> => {
    await berth.ports.revokeLink(container, port, id);
    await loaded.reload();
  };
  return (
    <Dialog title={`Links to port ${String(port)}`} action="Done" isLast onClose={onClose}>
      <Shown of={loaded}>
        {(links) =>
          links.length === 0 ? (
            <p>There are none.</p>
          ) : (
            <Table caption="Links" columns={['Name', 'Use', 'Ends']} hasActions>
              {links.map((link) => (
                <tr key={link.id}>
                  <td>{link.name ?? 'without a name'}</td>
                  <td class="muted">{link.once ? (link.used_at === null ? 'once' : 'once, used') : 'any'}</td>
                  <td class="muted nowrap">
                    <Ago time={link.expires_at} />
                  </td>
                  <td class="actions-cell">
                    <WorkButton
                      class="button slim danger"
                      run={() => revoke(link)}
                      aria-label={`Revoke ${link.name ?? link.id}`}
                    >
                      Revoke
                    </WorkButton>
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Shown>
    </Dialog>
  );
}
