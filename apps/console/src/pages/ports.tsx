import type { CreatedLinkView, LinkView, PortView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { type Container, me } from '../data/live';
import { readWhileVisible } from '../data/visible';
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
import { commonWords } from '../words/common';
import { portsWords } from '../words/ports';

/** The ports on which a container listens, and who may see them from outside. */
export function Ports({ container: { db_id, id } }: { readonly container: Container }): JSX.Element {
  const { columns } = portsWords;
  const followed = useListening(db_id, id);
  const [shared, setShared] = useState<PortView>();
  const [linked, setLinked] = useState<PortView>();
  const [made, setMade] = useState<CreatedLinkView>();
  return (
    <>
      <Shown of={followed}>
        {(ports) => (
          <section class="panel" aria-label={portsWords.title}>
            {ports.length === 0 ? (
              <Empty title={portsWords.none.title}>
                <p>{portsWords.none.hint}</p>
              </Empty>
            ) : (
              <Table
                caption={portsWords.caption}
                columns={[columns.port, columns.listensOn, columns.access]}
                hasActions
              >
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
        <Dialog
          title={portsWords.link.title(made.port)}
          action={portsWords.link.done}
          isLast
          onClose={() => setMade(undefined)}
        >
          <p>{portsWords.link.secretHint}</p>
          <Secret text={made.url} label={portsWords.link.secret} />
        </Dialog>
      )}
      {linked && <Links container={db_id} port={linked.port} onClose={() => setLinked(undefined)} />}
    </>
  );
}

/** The ports on which a container listens, as they change. Not read while the page is hidden. */
export function useListening(container: string, dockerId: string | null): Loaded<readonly PortView[]> {
  const [value, setValue] = useState<readonly PortView[]>();
  const [fault, setFault] = useState<unknown>();
  const reload = (): Promise<void> => berth.ports.list(container).then(setValue, setFault);

  useEffect(() => {
    const read = async (signal: AbortSignal): Promise<void> => {
      for await (const message of berth.ports.follow(container, { signal })) {
        if (message.type === 'end') return;
        setFault(undefined);
        setValue(message.ports);
      }
    };
    return readWhileVisible(read, setFault);
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
  const words = portsWords.access;
  const isPublic = access === 'public';
  const items: MenuItem[] = [
    { name: portsWords.link.start, run: onShare },
    { name: portsWords.links.name, run: onLinks },
    isPublic
      ? { name: words.makePrivate, run: () => void setAccess(container, port, 'private').then(onChange) }
      : { name: words.makePublic, run: () => askToPublish(container, port, onChange) },
  ];
  return (
    <tr>
      <td class="mono">{port}</td>
      <td class="mono muted" data-name={portsWords.cells.listensOn}>
        {addresses.join(', ')}
      </td>
      <td data-name={portsWords.cells.access}>
        <Status of={isPublic ? 'running' : 'stopped'} word={isPublic ? words.everyone : words.own} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          {url === null ? (
            <span class="muted">{portsWords.previewsOff}</span>
          ) : (
            <>
              <WorkButton
                class="button slim"
                run={() => openPreview(container, port)}
                aria-label={portsWords.openPort(port)}
              >
                {portsWords.open}
              </WorkButton>
              <Menu label={portsWords.more(port)} items={items} />
            </>
          )}
        </div>
      </td>
    </tr>
  );
}

/** Opens a preview with a link that works once. The tab is opened before the request: later, browsers would block it. */
export async function openPreview(container: string, port: number): Promise<void> {
  const tab = window.open('about:blank', '_blank');
  try {
    const body = { name: 'console', once: true, may_start: me.value?.scopes.includes('write') ?? false };
    const { url } = await berth.ports.createLink(container, port, body);
    if (!tab) throw new Error(portsWords.openBlocked);
    tab.opener = null;
    tab.location.replace(url);
  } catch (error) {
    tab?.close();
    throw error;
  }
}

async function setAccess(container: string, port: number, access: PortView['access']): Promise<void> {
  const { isPublic, isPrivate } = portsWords.access;
  await berth.ports
    .setAccess(container, port, access)
    .then(() => say(access === 'public' ? isPublic(port) : isPrivate(port)), sayFault);
}

function askToPublish(container: string, port: number, onChange: () => void): void {
  ask({
    title: portsWords.access.publicQuestion(port),
    text: portsWords.access.publicHint,
    action: portsWords.access.makePublic,
    isDangerous: false,
    run: () => setAccess(container, port, 'public').then(onChange),
  });
}

const { lifetimes } = portsWords.link;
const LIFETIMES = [
  [3_600, lifetimes.hour],
  [86_400, lifetimes.day],
  [7 * 86_400, lifetimes.week],
  [30 * 86_400, lifetimes.month],
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
  const words = portsWords.link;
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
    <Dialog title={words.title(port)} action={words.create} onClose={onClose} onSubmit={make}>
      <div class="fields">
        <TextField
          label={commonWords.name}
          hint={words.nameHint}
          fault={faultOf(fault, 'name')}
          input={{ autoComplete: 'off', maxLength: 64 }}
          value={name}
          onValue={setName}
        />
        <Field label={words.validFor} fault={faultOf(fault, 'expires_in')}>
          {(of) => (
            <select
              {...of}
              class="input"
              value={String(seconds)}
              onChange={(event) => setSeconds(Number(event.currentTarget.value))}
            >
              {LIFETIMES.map(([value, text]) => (
                <option key={value} value={String(value)}>
                  {text}
                </option>
              ))}
            </select>
          )}
        </Field>
      </div>
      <label class="check">
        <input type="checkbox" checked={mayStart} onChange={(event) => setMayStart(event.currentTarget.checked)} />
        {words.mayStart}
      </label>
    </Dialog>
  );
}

/** The links to a port, which can be revoked. */
function Links({ container, port, onClose }: LinkProps): JSX.Element {
  const words = portsWords.links;
  const loaded = useLoaded(() => berth.ports.links(container, port), [container, port]);
  const revoke = async ({ id }: LinkView): Promise<void> => {
    await berth.ports.revokeLink(container, port, id);
    await loaded.reload();
  };
  return (
    <Dialog title={words.title(port)} action={words.done} isLast onClose={onClose}>
      <Shown of={loaded}>
        {(links) =>
          links.length === 0 ? (
            <p>{words.none}</p>
          ) : (
            <Table
              caption={words.name}
              columns={[words.columns.name, words.columns.use, words.columns.expires]}
              hasActions
            >
              {links.map((link) => (
                <tr key={link.id}>
                  <td>{link.name ?? words.unnamed}</td>
                  <td class="muted">
                    {link.once ? (link.used_at === null ? words.once : words.onceUsed) : words.unlimited}
                  </td>
                  <td class="muted nowrap">
                    <Ago time={link.expires_at} />
                  </td>
                  <td class="actions-cell">
                    <WorkButton
                      class="button slim danger"
                      run={() => revoke(link)}
                      aria-label={words.revokeOne(link.name ?? link.id)}
                    >
                      {words.revoke}
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
