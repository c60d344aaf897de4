import type * as api from '@berth/client';
import type { Command } from 'commander';
import { doing } from './advice.ts';
import { age, note, say, sayJson, sayList } from './output.ts';
import { openSession, type Session, wholeId } from './session.ts';
import { pair } from './values.ts';

interface CreateOptions {
  readonly event?: readonly string[];
  readonly label?: Readonly<Record<string, string>>;
  readonly description?: string;
  readonly all?: boolean;
}

interface ScopeOptions {
  readonly all?: boolean;
}

const ALL = ['--all', 'Global webhooks for the events of all users, for administrators'] as const;

export function addWebhookCommands(program: Command): void {
  const webhooks = program.command('webhooks').description('Webhooks: URLs that receive your events');
  webhooks
    .command('ls', { isDefault: true })
    .description('List webhooks')
    .option(...ALL)
    .action(async (options: ScopeOptions, command: Command) => list(await openSession(command), options));
  webhooks
    .command('create <url>')
    .description('Create a webhook and print its id and secret; the secret is shown only once')
    .option('-e, --event <type>', 'Event type to send (default: all; repeatable)', collect)
    .option('-l, --label <key=value>', 'Label that containers must have (repeatable)', pair)
    .option('--description <text>', 'Description')
    .option(...ALL)
    .action(async (url: string, options: CreateOptions, command: Command) =>
      create(await openSession(command), url, options),
    );
  const status = { pause: 'paused', resume: 'active' } as const;
  for (const [name, wanted] of Object.entries(status)) {
    webhooks
      .command(`${name} <id>`)
      .description(name === 'pause' ? 'Stop sending; events are queued' : 'Continue sending from where it stopped')
      .option(...ALL)
      .action(async (id: string, options: ScopeOptions, command: Command) => {
        const session = await openSession(command);
        const changed = await of(session, options).update(
          await findId(session, id, options),
          { status: wanted },
          session,
        );
        if (session.isJson) sayJson(changed);
        else note(`${changed.url}: ${changed.status}`);
      });
  }
  webhooks
    .command('rm <id>')
    .description('Delete a webhook with its undelivered events')
    .option(...ALL)
    .action(async (id: string, options: ScopeOptions, command: Command) => {
      const session = await openSession(command);
      const deleted = await of(session, options).delete(await findId(session, id, options), session);
      if (session.isJson) sayJson(deleted);
      else note(deleted.message);
    });
  webhooks
    .command('rotate-secret <id>')
    .description('Rotate the secret and print the new one; the old one stays valid for a day')
    .option(...ALL)
    .action(async (id: string, options: ScopeOptions, command: Command) => {
      const session = await openSession(command);
      const rotated = await of(session, options).rotateSecret(await findId(session, id, options), {}, session);
      if (session.isJson) sayJson(rotated);
      else say(rotated.secret);
    });
  webhooks
    .command('test <id>')
    .description('Send a test event')
    .option(...ALL)
    .action(async (id: string, options: ScopeOptions, command: Command) => {
      const session = await openSession(command);
      show(session, await of(session, options).test(await findId(session, id, options), session));
    });
  webhooks
    .command('deliveries <id>')
    .description('List deliveries, newest first')
    .option('--status <status>', 'Filter by status: pending, delivered, failed or lost')
    .option(...ALL)
    .action(async (id: string, options: ScopeOptions & { status?: api.DeliveryStatus }, command: Command) =>
      deliveries(await openSession(command), id, options),
    );
  webhooks
    .command('redeliver <id> <delivery>')
    .description('Resend a delivery')
    .option(...ALL)
    .action(async (id: string, delivery: string, options: ScopeOptions, command: Command) => {
      const session = await openSession(command);
      const { signal } = session;
      const webhook = await findId(session, id, options);
      const kept = await of(session, options).deliveries(webhook, { signal }).all();
      show(session, await of(session, options).redeliver(webhook, wholeId(delivery, kept), { signal }));
    });
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function of({ berth }: Session, { all }: ScopeOptions): api.Webhooks {
  return all ? berth.admin.webhooks : berth.webhooks;
}

/** @returns the whole id for its beginning */
async function findId(session: Session, id: string, options: ScopeOptions): Promise<string> {
  doing.subject = id;
  return wholeId(id, await of(session, options).list({ signal: session.signal }).all());
}

async function create(session: Session, url: string, options: CreateOptions): Promise<void> {
  const { event, label, description } = options;
  const body = {
    url,
    ...(event && { events: [...event] as NonNullable<api.CreateWebhookDto['events']> }),
    ...(label && { labels: { ...label } }),
    ...(description !== undefined && { description }),
  };
  const made = await of(session, options).create(body, { signal: session.signal });
  if (session.isJson) sayJson(made);
  else {
    note(`created ${made.id}; its secret is not shown again`);
    say(made.secret);
  }
}

async function list(session: Session, options: ScopeOptions): Promise<void> {
  const found = await of(session, options).list({ signal: session.signal }).all();
  sayList(found, {
    isJson: session.isJson,
    head: ['ID', 'URL', 'EVENTS', 'STATUS', 'WAITING', 'FAILING', 'AGE'],
    ifEmpty: 'No webhooks yet. Create one: berth webhooks create URL',
    row: (each) => [
      each.id.slice(0, 8),
      each.url,
      each.events === null ? 'all' : each.events.join(','),
      each.status_reason === null ? each.status : `${each.status} (${each.status_reason})`,
      each.waiting,
      each.failing_since === null ? null : age(each.failing_since),
      age(each.created_at),
    ],
  });
}

async function deliveries(
  session: Session,
  id: string,
  options: ScopeOptions & { status?: api.DeliveryStatus },
): Promise<void> {
  const { status } = options;
  const filter = { signal: session.signal, ...(status !== undefined && { status }) };
  const { items } = await of(session, options)
    .deliveries(await findId(session, id, options), filter)
    .page();
  sayList(items, {
    isJson: session.isJson,
    head: ['ID', 'TYPE', 'SUBJECT', 'STATUS', 'ATTEMPTS', 'ANSWER', 'AGE'],
    ifEmpty: 'No deliveries. Send a test event: berth webhooks test',
    row: (each) => [
      each.id,
      each.type,
      each.subject.slice(0, 8),
      each.status,
      each.attempts,
      each.response_status ?? each.error,
      age(each.created_at),
    ],
  });
}

/** Shows an attempt; the exit code says whether it succeeded. */
function show({ isJson }: Session, delivery: api.DeliveryView): void {
  if (delivery.status !== 'delivered') process.exitCode = 1;
  if (isJson) sayJson(delivery);
  else
    note(
      `${delivery.type}: ${delivery.status}, ${String(delivery.response_status ?? delivery.error ?? 'not tried yet')}`,
    );
}
