import type { CreateWebhookDto, DeliveryView, Webhooks as WebhooksApi, WebhookView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { linesOf, readPairs } from '../data/container-draft';
import { milliseconds } from '../words/format';
import { events, me } from '../data/live';
import { address, Link } from '../router';
import { ask, Dialog } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Menu } from '../ui/menu';
import { Paged, useRounds } from '../ui/paged';
import {
  Ago,
  Empty,
  Lasting,
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
import { commonWords } from '../words/common';
import { reasonInWords } from '../words/errors';
import { deliveryErrorInWords, webhookWords } from '../words/webhooks';

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
  const { columns, empty, secret } = webhookWords;
  const disabled = events.value.find(({ type }) => type === 'webhook_disabled')?.seq;
  const loaded = useLoaded(() => api.list({ limit: 200 }).all(), [disabled]);
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState<Made | null>(null);
  const reload = (): void => void loaded.reload();
  const isOwn = path === '/webhooks';
  const allowed = isOwn ? me.value?.limits.webhooks : undefined;
  const make = allowed !== 0 && (
    <button type="button" class="button primary" onClick={() => setMaking(true)}>
      <PlusIcon /> {webhookWords.new}
    </button>
  );
  return (
    <>
      <PageHead
        title={isOwn ? webhookWords.title : webhookWords.titleForAll}
        aside={<span class="muted">{webhookWords.about}</span>}
      >
        <WorkButton run={loaded.reload}>{commonWords.reload}</WorkButton>
        {make}
      </PageHead>
      <Shown of={loaded}>
        {(webhooks) => (
          <Listing
            items={webhooks}
            caption={webhookWords.caption}
            columns={[columns.receiver, commonWords.status, { end: columns.waiting }, commonWords.created]}
            hasActions
            empty={
              <Empty title={empty.title}>
                {allowed === 0 ? <p>{empty.noneAllowed(me.value?.tier ?? '')}</p> : <p>{empty.text}</p>}
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
        <Dialog title={secret.title(hostOf(made.url))} action={secret.done} isLast onClose={() => setMade(null)}>
          <p>{secret.text}</p>
          <Secret text={made.secret} label={secret.label} />
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
    sayOutcome(webhookWords.test.outcome, await api.test(id));
  };
  const rotate = (): void =>
    ask({
      title: webhookWords.replace.title(host),
      text: webhookWords.replace.text,
      action: webhookWords.replace.action,
      isDangerous: false,
      run: async () => onSecret({ url, secret: (await api.rotateSecret(id)).secret }),
    });
  const remove = (): void =>
    ask({
      title: webhookWords.remove.title(host),
      text: waiting === 0 ? webhookWords.remove.text : webhookWords.remove.textWithWaiting(waiting),
      action: commonWords.delete,
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
            {(types ?? [webhookWords.allEvents]).map((type) => (
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
          <WorkButton class="button slim" aria-label={webhookWords.test.label(host)} run={test}>
            {webhookWords.test.action}
          </WorkButton>
          <Menu
            label={webhookWords.more(host)}
            items={[
              {
                name: status === 'paused' ? webhookWords.pause : webhookWords.activate,
                run: () => void set(status).catch(sayFault),
              },
              { name: webhookWords.replace.item, run: rotate },
              { name: commonWords.delete, isDangerous: true, run: remove },
            ]}
          />
        </div>
      </td>
    </tr>
  );
}

function WebhookStatus({ of }: { readonly of: WebhookView }): JSX.Element {
  const { status, status_reason, failing_since } = of;
  const { states } = webhookWords;
  if (status === 'paused') return <Status of="paused" word={states.paused} />;
  return (
    <div class="two">
      {status === 'disabled' ? (
        <Status of="error" word={states.disabled} />
      ) : failing_since === null ? (
        <Status of="ok" word={states.active} />
      ) : (
        <Status of="warn" word={states.failing} />
      )}
      {status_reason !== null && <span class="small muted">{reasonInWords(status_reason)}</span>}
      {failing_since !== null && (
        <span class="small muted">{states.failingFor(<Lasting since={failing_since} />)}</span>
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
  const words = webhookWords.create;
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
    <Dialog title={webhookWords.new} action={commonWords.create} onClose={onClose} onSubmit={submit}>
      <TextField
        label={words.url}
        hint={words.urlHint}
        fault={faultOf(fault, 'url')}
        isMono
        input={{ type: 'url', autoComplete: 'off', placeholder: 'https://hooks.example.com/berth' }}
        value={url}
        onValue={setUrl}
      />
      <TextField
        label={commonWords.description}
        fault={faultOf(fault, 'description')}
        input={{ autoComplete: 'off', maxLength: 200 }}
        value={description}
        onValue={setDescription}
      />
      <LinesField
        label={words.events}
        hint={words.eventsHint}
        fault={faultOf(fault, 'events')}
        rows={3}
        value={types}
        onValue={setTypes}
      />
      <LinesField
        label={words.labels}
        hint={words.labelsHint}
        fault={faultOf(fault, 'labels')}
        rows={2}
        value={labels}
        onValue={setLabels}
      />
    </Dialog>
  );
}

type OutcomeWords = typeof webhookWords.test.outcome;

/** Says what came of a message that was sent at once. */
function sayOutcome(words: OutcomeWords, { status, response_status, error }: DeliveryView): void {
  if (status === 'pending') say(words.pending);
  else if (error === null) say(words.accepted(String(response_status)));
  else sayFault(new Error(words.refused(answerOf(response_status, error))));
}

/** Why a message was not accepted. */
function answerOf(status: number | null, error: string): string {
  return status === null ? deliveryErrorInWords(error) : webhookWords.deliveries.answered(String(status));
}

/** How a delivery's status looks. */
const LOOKS = { pending: 'creating', delivered: 'ok', failed: 'error', lost: 'error' } as const;

function Deliveries({ id, api, path }: KindProps & { readonly id: string }): JSX.Element {
  const { deliveries: words } = webhookWords;
  const { columns } = words;
  const webhook = useLoaded(() => api.get(id), [id]);
  const rounds = useRounds();
  const again = async (delivery: DeliveryView): Promise<void> => {
    sayOutcome(words.outcome, await api.redeliver(id, delivery.id));
    await rounds.next();
  };
  return (
    <>
      <PageHead
        title={words.title}
        aside={webhook.value && <span class="muted wrap-anywhere">{webhook.value.url}</span>}
      >
        <Link class="button" href={path}>
          {words.back}
        </Link>
        <WorkButton run={rounds.next}>{commonWords.reload}</WorkButton>
      </PageHead>
      <Paged
        list={() => api.deliveries(id, { limit: 50 })}
        of={id}
        rounds={rounds}
        empty={
          <Empty title={words.empty.title}>
            <p>{words.empty.text}</p>
          </Empty>
        }
      >
        {(deliveries) => (
          <Table
            caption={words.caption}
            columns={[columns.event, commonWords.status, columns.answer, { end: columns.attempts }, columns.emitted]}
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
  const { deliveries: words } = webhookWords;
  const { id, type, status, error, response_status, response_body, attempts, next_try_at, request } = delivery;
  return (
    <tr data-id={id}>
      <td>
        <div class="two">
          <strong class="wrap-anywhere">{type}</strong>
          {request && (
            <details>
              <summary class="small muted">{words.message}</summary>
              <pre class="mono small message">{JSON.stringify(request, null, 2)}</pre>
            </details>
          )}
        </div>
      </td>
      <td>
        <div class="two">
          <Status of={LOOKS[status]} word={words.states[status]} />
          {next_try_at !== null && <span class="small muted">{words.nextTry(<Ago time={next_try_at} />)}</span>}
        </div>
      </td>
      <td class="muted">
        <div class="two">
          <span>{error === null ? (response_status ?? '–') : answerOf(response_status, error)}</span>
          {response_body !== null && response_body !== '' && (
            <details>
              <summary class="small muted">{words.answerText}</summary>
              <pre class="mono small message">{response_body}</pre>
            </details>
          )}
          {delivery.duration_ms !== null && (
            <span class="small muted">{words.took(milliseconds(delivery.duration_ms))}</span>
          )}
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
            <WorkButton class="button slim" aria-label={words.againLabel(type)} run={() => onAgain(delivery)}>
              {words.again}
            </WorkButton>
          </div>
        )}
      </td>
    </tr>
  );
}
