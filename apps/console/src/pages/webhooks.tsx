import type { CreateWebhookDto, DeliveryView, Webhooks as WebhooksApi, WebhookView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { linesOf, readPairs } from '../data/container-draft';
import { milliseconds } from '../data/format';
import { events, me } from '../data/live';
import { reasonInWords } from '../words/errors';
import { address, Link } from '../router';
import { ask, Dialog } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Paged } from '../ui/paged';
import {
  Ago,
  Empty,
  LinesField,
  Listing,
  PageHead,
  Secret,
  Shown,
  Status,
  Table,
  TextField,
  useLoaded,
  WorkButton,
} from '../ui/parts';
import { say, sayFault } from '../ui/toasts';

interface KindProps {
  readonly api: WebhooksApi;
  readonly path: '/webhooks' | '/admin/webhooks';
}

/** The user's webhooks. */
export function Webhooks(): JSX.Element {
  return <AnyWebhooks api={berth.webhooks} path="/webhooks" />;
}

/** Webhooks for everybody's events. */
export function AdminWebhooks(): JSX.Element {
  return <AnyWebhooks api={berth.admin.webhooks} path="/admin/webhooks" />;
}

/** All webhooks of a kind, or the deliveries of the one that the address names. */
function AnyWebhooks({ api, path }: KindProps): JSX.Element {
  const id = address.value.query.get('id');
  return id === null ? <WebhookList api={api} path={path} /> : <Deliveries key={id} id={id} api={api} path={path} />;
}

/** A secret that was made, and for which webhook. */
interface Made {
  readonly url: string;
  readonly secret: string;
}

function WebhookList({ api, path }: KindProps): JSX.Element {
  const disabled = events.value.find(({ type }) => type === 'webhook_disabled')?.seq;
  const loaded = useLoaded(() => api.list({ limit: 200 }).all(), [disabled]);
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState<Made | null>(null);
  const reload = (): void => void loaded.reload();
  const isOwn = path === '/webhooks';
  const allowed = isOwn ? me.value?.limits.webhooks : undefined;
  const make = allowed !== 0 && (
    <button type="button" class="button primary" onClick={() => setMaking(true)}>
      <PlusIcon /> New webhook
    </button>
  );
  return (
    <>
      <PageHead
        title={isOwn ? 'Webhooks' : 'Webhooks for everybody’s events'}
        aside={<span class="muted">Where events are sent</span>}
      >
        <button type="button" class="button" onClick={reload}>
          Reload
        </button>
        {make}
      </PageHead>
      <Shown of={loaded}>
        {(webhooks) => (
          <Listing
            items={webhooks}
            caption="Webhooks, the newest first"
            columns={['Receiver', 'Status', { end: 'Waiting' }, 'Created']}
            hasActions
            empty={
              <Empty title="No webhooks">
                {allowed === 0 ? (
                  <p>Your tier “{me.value?.tier ?? ''}” allows none.</p>
                ) : (
                  <p>A webhook sends events to a server of your own, signed and in order.</p>
                )}
                {make}
              </Empty>
            }
          >
            {(webhook) => (
              <Row key={webhook.id} webhook={webhook} api={api} path={path} onChange={reload} onSecret={setMade} />
            )}
          </Listing>
        )}
      </Shown>
      {isMaking && (
        <NewWebhook
          api={api}
          onClose={() => setMaking(false)}
          onMade={(next) => {
            setMade(next);
            reload();
          }}
        />
      )}
      {made && (
        <Dialog title={`Secret of ${hostOf(made.url)}`} action="Done" isLast onClose={() => setMade(null)}>
          <p>It is shown this once. The receiver verifies with it that messages come from here.</p>
          <Secret text={made.secret} label="The secret" />
        </Dialog>
      )}
    </>
  );
}

const hostOf = (url: string): string => new URL(url).host;

interface RowProps extends KindProps {
  readonly webhook: WebhookView;
  readonly onChange: () => void;
  readonly onSecret: (made: Made) => void;
}

function Row({ webhook, api, path, onChange, onSecret }: RowProps): JSX.Element {
  const { id, url, description, events: types, labels, waiting, created_at } = webhook;
  const host = hostOf(url);
  const set = async (status: 'active' | 'paused'): Promise<void> => {
    await api.update(id, { status });
    onChange();
  };
  const test = async (): Promise<void> => {
    sayOutcome('The test', await api.test(id));
  };
  const rotate = (): void =>
    ask({
      title: `Replace the secret of ${host}?`,
      text: 'For a day messages are signed with both secrets. Give the new one to the receiver until then.',
      action: 'Replace',
      isDangerous: false,
      run: async () => onSecret({ url, secret: (await api.rotateSecret(id)).secret }),
    });
  const remove = (): void =>
    ask({
      title: `Delete the webhook to ${host}?`,
      text: waiting === 0 ? 'No more events are sent to it.' : `Its ${String(waiting)} waiting messages are not sent.`,
      action: 'Delete',
      run: async () => {
        await api.delete(id);
        onChange();
      },
    });
  const status = webhook.status === 'active' ? ('paused' as const) : ('active' as const);
  return (
    <tr data-id={id}>
      <td>
        <div class="two">
          <Link class="name wrap-anywhere" href={`${path}?id=${id}`}>
            {url}
          </Link>
          {description !== null && <span class="small muted wrap-anywhere">{description}</span>}
          <span class="chips">
            {(types ?? ['all events']).map((type) => (
              <span key={type} class="chip">
                {type}
              </span>
            ))}
            {Object.entries(labels).map(([key, value]) => (
              <span key={key} class="chip">
                {value === '' ? key : `${key}: ${value}`}
              </span>
            ))}
          </span>
        </div>
      </td>
      <td>
        <WebhookStatus of={webhook} />
      </td>
      <td class="end muted" data-name="waiting">
        {waiting}
      </td>
      <td class="muted nowrap" data-name="created">
        <Ago time={created_at} />
      </td>
      <td class="actions-cell">
        <div class="actions">
          <WorkButton class="button slim" aria-label={`Test ${host}`} run={test}>
            Test
          </WorkButton>
          <Menu
            label={`More for ${host}`}
            items={[
              {
                name: status === 'paused' ? 'Pause' : 'Activate',
                run: () => void set(status).catch(sayFault),
              },
              { name: 'Replace the secret', run: rotate },
              { name: 'Delete', isDangerous: true, run: remove },
            ]}
          />
        </div>
      </td>
    </tr>
  );
}

function WebhookStatus({ of }: { readonly of: WebhookView }): JSX.Element {
  const { status, status_reason, failing_since } = of;
  if (status === 'paused') return <Status of="paused" />;
  return (
    <div class="two">
      {status === 'disabled' ? (
        <Status of="error" word="Disabled" />
      ) : failing_since === null ? (
        <Status of="ok" word="Active" />
      ) : (
        <Status of="warn" word="Failing" />
      )}
      {status_reason !== null && <span class="small muted">{reasonInWords(status_reason)}</span>}
      {failing_since !== null && (
        <span class="small muted">
          since <Ago time={failing_since} />
        </span>
      )}
    </div>
  );
}

interface NewWebhookProps {
  readonly api: WebhooksApi;
  readonly onClose: () => void;
  readonly onMade: (made: Made) => void;
}

function NewWebhook({ api, onClose, onMade }: NewWebhookProps): JSX.Element {
  const [url, setUrl] = useState('');
  const [description, setDescription] = useState('');
  const [types, setTypes] = useState('');
  const [labels, setLabels] = useState('');
  const [fault, setFault] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    const wanted = linesOf(types);
    try {
      onMade(
        await api.create({
          url: url.trim(),
          description: description.trim() || null,
          events: wanted.length === 0 ? null : (wanted as NonNullable<CreateWebhookDto['events']>),
          labels: readPairs(labels),
        }),
      );
    } catch (error) {
      setFault(error);
      throw error;
    }
  };
  return (
    <Dialog title="New webhook" action="Create" onClose={onClose} onSubmit={submit}>
      <TextField
        label="URL"
        hint="An https address that this server reaches"
        fault={faultOf(fault, 'url')}
        isMono
        input={{ type: 'url', autoComplete: 'off', placeholder: 'https://hooks.example.com/berth' }}
        value={url}
        onValue={setUrl}
      />
      <TextField
        label="Description"
        fault={faultOf(fault, 'description')}
        input={{ autoComplete: 'off', maxLength: 200 }}
        value={description}
        onValue={setDescription}
      />
      <LinesField
        label="Events"
        hint="One a line: container_started. All if empty"
        fault={faultOf(fault, 'events')}
        rows={3}
        value={types}
        onValue={setTypes}
      />
      <LinesField
        label="Labels"
        hint="One a line: team=core. Then only events of containers with these labels"
        fault={faultOf(fault, 'labels')}
        rows={2}
        value={labels}
        onValue={setLabels}
      />
    </Dialog>
  );
}

/** Says what came of a message that was sent at once. */
function sayOutcome(what: string, { status, response_status, error }: DeliveryView): void {
  if (status === 'pending') say(`${what} is sent as soon as it is its turn.`);
  else if (error === null) say(`${what} was accepted with ${String(response_status)}.`);
  else sayFault(new Error(`${what} was not accepted: ${answerOf(response_status, error)}.`));
}

/** Why a message was not accepted. */
function answerOf(status: number | null, error: string): string {
  return status === null ? error.replaceAll('_', ' ') : `answered with ${String(status)}`;
}

/** How a delivery's status looks. */
const LOOKS = { pending: 'creating', delivered: 'ok', failed: 'error', lost: 'error' } as const;

function Deliveries({ id, api, path }: KindProps & { readonly id: string }): JSX.Element {
  const webhook = useLoaded(() => api.get(id), [id]);
  const [round, setRound] = useState(0);
  const again = async (delivery: DeliveryView): Promise<void> => {
    sayOutcome('The message', await api.redeliver(id, delivery.id));
    setRound((before) => before + 1);
  };
  return (
    <>
      <PageHead
        title="Deliveries"
        aside={webhook.value && <span class="muted wrap-anywhere">{webhook.value.url}</span>}
      >
        <Link class="button" href={path}>
          To the webhooks
        </Link>
        <button type="button" class="button" onClick={() => setRound((before) => before + 1)}>
          Reload
        </button>
      </PageHead>
      <Paged
        list={() => api.deliveries(id, { limit: 50 })}
        of={`${id} ${String(round)}`}
        empty={
          <Empty title="No deliveries">
            <p>They are listed as long as their events are kept.</p>
          </Empty>
        }
      >
        {(deliveries) => (
          <Table
            caption="Deliveries, the newest first"
            columns={['Event', 'Status', 'Answer', { end: 'Attempts' }, 'Emitted']}
            hasActions
          >
            {deliveries.map((delivery) => (
              <DeliveryRow key={delivery.id} delivery={delivery} onAgain={again} />
            ))}
          </Table>
        )}
      </Paged>
    </>
  );
}

interface DeliveryRowProps {
  readonly delivery: DeliveryView;
  readonly onAgain: (delivery: DeliveryView) => Promise<void>;
}

function DeliveryRow({ delivery, onAgain }: DeliveryRowProps): JSX.Element {
  const { id, type, status, error, response_status, response_body, attempts, next_try_at, request } = delivery;
  return (
    <tr data-id={id}>
      <td>
        <div class="two">
          <strong class="wrap-anywhere">{type}</strong>
          {request && (
            <details>
              <summary class="small muted">Message</summary>
              <pre class="mono small message">{JSON.stringify(request, null, 2)}</pre>
            </details>
          )}
        </div>
      </td>
      <td>
        <div class="two">
          <Status of={LOOKS[status]} word={status.charAt(0).toUpperCase() + status.slice(1)} />
          {next_try_at !== null && (
            <span class="small muted">
              again <Ago time={next_try_at} />
            </span>
          )}
        </div>
      </td>
      <td class="muted">
        <div class="two">
          <span>{error === null ? (response_status ?? '–') : answerOf(response_status, error)}</span>
          {response_body !== null && response_body !== '' && (
            <details>
              <summary class="small muted">Its text</summary>
              <pre class="mono small message">{response_body}</pre>
            </details>
          )}
          {delivery.duration_ms !== null && <span class="small muted">in {milliseconds(delivery.duration_ms)}</span>}
        </div>
      </td>
      <td class="end muted" data-name="attempts">
        {attempts}
      </td>
      <td class="muted nowrap" data-name="emitted">
        <Ago time={delivery.created_at} />
      </td>
      <td class="actions-cell">
        {request && (
          <div class="actions">
            <WorkButton class="button slim" aria-label={`Send again: ${type}`} run={() => onAgain(delivery)}>
              Send again
            </WorkButton>
          </div>
        )}
      </td>
    </tr>
  );
}
