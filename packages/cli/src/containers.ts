import type * as api from '@berth/client';
import { type Command, Option } from 'commander';
import { CliError, exitCodeOf, linesOf, USAGE } from './exit.ts';
import { age, duration, mebibytesText, note, ProgressBar, type Row, say, sayJson, sayTable } from './output.ts';
import { confirm } from './prompt.ts';
import { findDeletedId, findId, findSnapshotId, openSession, type Session } from './session.ts';
import { labelsOf, showContainer, statusOf } from './show.ts';
import {
  cpuShares,
  kindOf,
  labelFilter,
  lifetime,
  mebibytes,
  networkOption,
  type NetworkKind,
  networkKind,
  pair,
  period,
  seconds,
  several,
  startOption,
} from './values.ts';

type Pairs = Readonly<Record<string, string>>;

interface Settings {
  readonly name?: string;
  readonly memory?: number;
  readonly cpus?: number;
  readonly disk?: number;
  readonly network?: api.NetworkPolicy;
  readonly autoStop?: number | 'tier';
  readonly autoDelete?: number | 'tier';
  readonly idleAction?: api.IdleAction | 'tier';
  readonly autoStart?: 'on' | 'off';
  readonly lifetime?: number | 'none';
  readonly atEnd?: api.CreateContainerDto['end_action'];
  readonly env?: Pairs;
  readonly label?: Pairs;
}

/** Options for settings that apply at creation and can be changed later. */
function withSettings(command: Command): Command {
  return command
    .option('--name <name>', 'Name')
    .option('--memory <size>', 'Memory, such as 512m or 2g', mebibytes)
    .option('--cpus <number>', 'CPUs, such as 0.5', cpuShares)
    .option('--disk <size>', 'Disk, such as 10g', mebibytes)
    .addOption(networkOption())
    .option(
      '--lifetime <time>',
      'End each run after this time: 90s, 1h, 7d, or "none"; a change counts from now',
      lifetime,
    )
    .addOption(
      new Option('--at-end <action>', 'Action at the end of the lifetime').choices(['stop', 'pause', 'delete']),
    )
    .option('--auto-stop <time>', 'Idle after this time of inactivity: 30m, 8h, or "tier"', seconds)
    .addOption(
      new Option('--idle-action <action>', 'Action when it is idle').choices([
        'stop',
        'pause',
        'pause_then_stop',
        'tier',
      ]),
    )
    .option('--auto-delete <time>', 'Delete it after being stopped for this time: 7d, or "tier"', seconds)
    .addOption(
      new Option('--auto-start <on>', 'Let previews and SSH start it when it is stopped').choices(['on', 'off']),
    )
    .option('-e, --env <NAME=VALUE>', 'Environment variable (repeatable)', pair)
    .option('-l, --label <key=value>', 'Label (repeatable)', pair);
}

/** Settings that a creation and an update take alike. */
type Shared = Partial<Omit<api.UpdateContainerDto, 'environment' | 'start'>> & { labels?: Record<string, string> };

/** The given settings alone. */
function settingsOf(options: Settings): Shared {
  const settings = {
    name: options.name,
    memory_mb: options.memory,
    cpu_shares: options.cpus,
    disk_mb: options.disk,
    network: options.network,
    auto_stop_seconds: lifetimeOf(options.autoStop),
    idle_action: lifetimeOf(options.idleAction),
    auto_delete_seconds: lifetimeOf(options.autoDelete),
    lifetime_seconds: options.lifetime === 'none' ? null : options.lifetime,
    end_action: options.atEnd,
    auto_start: options.autoStart && options.autoStart === 'on',
    env: options.env,
    labels: options.label,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

function lifetimeOf<T>(written: T | 'tier' | undefined): T | null | undefined {
  return written === 'tier' ? null : written;
}

const STATUSES = ['creating', 'running', 'paused', 'stopped', 'error', 'deleted'] as const satisfies api.ListedStatus[];

export function addContainerCommands(program: Command): void {
  program
    .command('ls')
    .alias('ps')
    .description('List containers and online agents')
    .option('-l, --label <key[=value]>', 'Filter by label (repeatable)', several)
    .addOption(new Option('-s, --status <status>', 'Filter by status').choices(STATUSES))
    .option('--network <kind>', 'Filter by network: internet, none, or allow (a list)', networkKind)
    .option('--ends-within <time>', 'Containers that stop within this time if unused: 30m, 8h', period)
    .option('-q, --quiet', 'Print only ids')
    .action(async (options: ListOptions, command: Command) => list(await openSession(command), options));
  program
    .command('show <container>')
    .alias('inspect')
    .description('Show a container')
    .action(async (name: string, _: unknown, command: Command) => {
      const session = await openSession(command);
      await show(session, await findId(session, name));
    });
  withSettings(program.command('create [image]').description('Create a container and wait until it is running'))
    .option('--snapshot <snapshot>', 'Create it from a snapshot instead of an image')
    .option('--role <role>', 'Role: software to install')
    .addOption(startOption())
    .option('--no-wait', 'Do not wait until it is running')
    .action(async (image: string | undefined, options: CreateOptions, command: Command) =>
      create(await openSession(command), image, options),
    );
  withSettings(
    program
      .command('update <container>')
      .description('Update settings of a container; omitted settings stay unchanged'),
  )
    .option('--unset-env <NAME>', 'Remove an environment variable (repeatable)', several)
    .option('--unset-label <key>', 'Remove a label (repeatable)', several)
    .option('-y, --yes', 'Do not ask for confirmation before recreating the container')
    .action(async (name: string, options: UpdateOptions, command: Command) =>
      update(await openSession(command), name, options),
    );
  addVerb(program, 'start <container...>', {
    description: 'Start containers',
    act: async (session, name) => session.berth.containers.start(await findId(session, name), session),
  });
  addVerb(program, 'stop <container...>', {
    description: 'Stop containers, or disconnect agents',
    act: async (session, name) => session.berth.containers.stop(await findId(session, name), session),
  });
  addVerb(program, 'pause <container...>', {
    description: 'Pause all processes; memory is kept',
    act: async (session, name) => session.berth.containers.pause(await findId(session, name), session),
  });
  addVerb(program, 'resume <container...>', {
    description: 'Resume paused containers',
    act: async (session, name) => session.berth.containers.resume(await findId(session, name), session),
  }).alias('unpause');
  addVerb(program, 'rm <container...>', {
    description: 'Delete containers; `restore` can undo this for some time',
    act: async (session, name, { force }) =>
      session.berth.containers.delete(await findId(session, name), { force: force === true, signal: session.signal }),
  }).option('-f, --force', 'Delete them even if Docker cannot remove them');
  addVerb(program, 'restore <container...>', {
    description: 'Restore deleted containers; they are stopped',
    act: async (session, name) => session.berth.containers.restore(await findDeletedId(session, name), session),
  });
}

interface Verb {
  readonly description: string;
  readonly act: (
    session: Session,
    name: string,
    options: { readonly force?: boolean },
  ) => Promise<{ readonly message: string; readonly name: string }>;
}

/** Handles each container even if others fail; the first error determines the exit code. */
function addVerb(program: Command, usage: string, { description, act }: Verb): Command {
  return program
    .command(usage)
    .description(description)
    .action(async (names: readonly string[], options: { readonly force?: boolean }, command: Command) => {
      const session = await openSession(command);
      const results = await Promise.allSettled(names.map((name) => act(session, name, options)));
      const done = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      if (!session.isJson) for (const { message, name } of done) note(`${name}: ${message}`);
      else if (names.length > 1) sayJson(done);
      else if (done.length > 0) sayJson(done[0]);
      for (const [index, result] of results.entries()) {
        if (result.status === 'fulfilled') continue;
        // With a single container, the error needs no name.
        if (names.length === 1 || session.signal.aborted) throw result.reason;
        const [sentence, ...more] = linesOf(result.reason, names[index]);
        note(`berth: ${sentence}`, ...more);
        process.exitCode ??= exitCodeOf(result.reason);
      }
    });
}

interface ListOptions {
  readonly label?: readonly string[];
  readonly status?: api.ListedStatus;
  readonly network?: NetworkKind;
  readonly endsWithin?: number;
  readonly quiet?: boolean;
}

async function list({ berth, isJson, signal }: Session, options: ListOptions): Promise<void> {
  const { label, status, network: kind, endsWithin, quiet } = options;
  const filter = { ...(label && { labels: label.map(labelFilter) }), ...(status && { status }), signal };
  const [{ limits }, listed] = await Promise.all([berth.account.me({ signal }), berth.containers.list(filter).all()]);
  const found = listed.filter((each) => {
    if (kind !== undefined && (!('db_id' in each) || kindOf(each.network) !== kind)) return false;
    return endsWithin === undefined || (endOf(each, limits) ?? Infinity) <= endsWithin;
  });
  if (isJson) sayJson(found);
  else if (quiet) for (const each of found) say('db_id' in each ? each.db_id : each.id);
  else {
    const head = ['ID', 'NAME', 'STATUS', 'IMAGE', 'MEMORY', 'CPUS', 'NETWORK', 'LABELS', 'ENDS', 'AGE'];
    sayTable(
      head,
      found.map((each) => rowOf(each, limits)),
      listed.length === 0 && !label && !status
        ? 'No containers yet. Create one: berth create --name dev'
        : 'No matching containers. `berth ls` lists all.',
    );
  }
}

type Listed = api.ListedContainerView | api.AgentView;

/** @returns the seconds until an unused container ends by itself; null if never, or if it is not running */
function endOf(each: Listed, limits: api.LimitsView): number | null {
  if (!('db_id' in each) || each.status !== 'running') return null;
  const idle = [each.auto_stop_seconds, limits.auto_stop_seconds].filter((limit) => limit !== null);
  const ends = idle.map((limit) => limit - each.idle_seconds);
  for (const end of [each.expires_at, each.ends_at]) {
    if (end !== null) ends.push((Date.parse(end) - Date.now()) / 1_000);
  }
  return ends.length === 0 ? null : Math.max(0, Math.min(...ends));
}

function rowOf(each: Listed, limits: api.LimitsView): Row {
  if (!('db_id' in each))
    return [each.id.slice(0, 14), each.name, each.status, each.os, ...NOTHING, age(each.created_at)];
  const end = endOf(each, limits);
  return [
    each.db_id.slice(0, 8),
    each.name,
    statusOf(each),
    each.image,
    mebibytesText(each.resources.memory_mb),
    each.resources.cpu_shares / 1_000,
    typeof each.network === 'string' ? each.network : `${String(each.network.allow.length)} allowed`,
    labelsOf(each.labels, ','),
    end === null ? null : `in ${duration(end)}`,
    age(each.created_at),
  ];
}

/** The empty cells of an agent's row. */
const NOTHING = [null, null, null, null, null] as const;

async function show({ berth, isJson, signal }: Session, id: string): Promise<void> {
  if (isJson) {
    sayJson(await berth.containers.get(id, { signal }));
    return;
  }
  const [container, { limits }] = await Promise.all([
    berth.containers.get(id, { signal }),
    berth.account.me({ signal }),
  ]);
  showContainer(container, limits);
}

interface CreateOptions extends Settings {
  readonly role?: string;
  readonly start?: string[];
  readonly snapshot?: string;
  readonly wait: boolean;
}

async function create(session: Session, image: string | undefined, options: CreateOptions): Promise<void> {
  const { berth, isJson, signal } = session;
  if (options.snapshot !== undefined && image !== undefined) {
    throw new CliError('an image and --snapshot are mutually exclusive. Use only one of them', USAGE);
  }
  const origin =
    options.snapshot === undefined
      ? await imageOf(session, image ?? 'sandbox')
      : { snapshot: await findSnapshotId(session, options.snapshot) };
  const body: api.CreateContainerDto = { ...origin, ...settingsOf(options) };
  if (options.role !== undefined) body.role = options.role;
  if (options.start !== undefined) body.start = { command: options.start };
  const created = await berth.containers.create(body, { signal });
  if (!options.wait) {
    if (isJson) sayJson(created);
    else say(created.db_id);
    return;
  }
  const container = await runningWithProgress(session, created);
  if (isJson) sayJson(container);
  else {
    note(`${container.name} is running`);
    say(container.db_id);
  }
}

async function imageOf({ berth, signal }: Session, image: string): Promise<api.CreateContainerDto> {
  const known = await berth.account.images({ signal });
  return known.some(({ name }) => name === image) ? { image } : { image: 'custom', custom_image: image };
}

/** Time limit for a creation, including the pull of its image. */
const CREATION_MS = 30 * 60_000;

export async function runningWithProgress(
  { berth, signal }: Session,
  { db_id: id, name }: api.ContainerCreatedView,
): Promise<api.ContainerView> {
  const bar = new ProgressBar();
  using watch = berth.watch();
  watch.subscribe(() => {
    const progress = watch.getSnapshot().containers.get(id)?.progress;
    if (progress) bar.show(progress.percent, `${name}: ${progress.message}`);
  });
  try {
    return await berth.containers.wait(id, 'running', { timeoutMs: CREATION_MS, signal });
  } catch (error) {
    const reason = (await berth.containers.get(id).catch(() => null))?.status_reason;
    if (typeof reason === 'string') note(`${name} did not start: ${reason}`);
    throw error;
  } finally {
    bar.clear();
  }
}

interface UpdateOptions extends Settings {
  readonly unsetEnv?: readonly string[];
  readonly unsetLabel?: readonly string[];
  readonly yes?: boolean;
}

/** The changes of an update. Variables and labels are merged with those of the container. */
function changesOf(options: UpdateOptions): api.PatchContainerDto {
  const { env, unsetEnv, label, unsetLabel } = options;
  const changes: api.PatchContainerDto = settingsOf(options);
  if (env ?? unsetEnv) changes.env = { ...env, ...without(unsetEnv) };
  if (label ?? unsetLabel) changes.labels = { ...label, ...without(unsetLabel) };
  return changes;
}

function without(keys: readonly string[] = []): Record<string, null> {
  return Object.fromEntries(keys.map((key) => [key, null]));
}

/** The consequence of a recreation, for a confirmation. */
const RECREATED = 'The container will be recreated: its programs end, and files outside /home/user may be lost.';

/** Settings of which Berth recreates the container if they change. */
const RECREATING = ['memory_mb', 'cpu_shares', 'disk_mb', 'network'] as const;

/** True if Berth will recreate the container, which keeps only `/home/user`. */
async function isRecreating({ berth, signal }: Session, id: string, changes: api.PatchContainerDto): Promise<boolean> {
  const given = RECREATING.filter((name) => changes[name] !== undefined);
  if (given.length === 0) return false;
  const { resources, network } = await berth.containers.get(id, { signal });
  const current = { ...resources, network };
  return given.some((name) => JSON.stringify(changes[name]) !== JSON.stringify(current[name]));
}

/** Whether an update recreated the container, and what became of files outside `/home/user`. */
function recreationOf({
  restarted,
  root_kept: kept,
}: Pick<api.ContainerUpdatedView, 'restarted' | 'root_kept'>): string {
  if (kept === undefined) return restarted ? ', recreated' : '';
  return `, recreated; files outside /home/user were ${kept ? 'kept' : 'lost'}`;
}

async function update(session: Session, name: string, options: UpdateOptions): Promise<void> {
  const { berth, isJson, signal } = session;
  const id = await findId(session, name);
  const changes = changesOf(options);
  if (!options.yes && (await isRecreating(session, id, changes))) {
    await confirm(`Update ${name}? ${RECREATED}`);
  }
  if (Object.keys(changes).length > 0) {
    const { message, ...updated } = await berth.containers.update(id, changes, { signal });
    if (!isJson) note(`${options.name ?? name}: ${message}${recreationOf(updated)}`);
  }
  if (isJson) sayJson(await berth.containers.get(id, { signal }));
}
