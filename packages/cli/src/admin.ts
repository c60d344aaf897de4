import type * as api from '@berth/client';
import type { Command } from 'commander';
import { USAGE_HEAD, usageCells } from './account.ts';
import { doing } from './advice.ts';
import { age, mebibytesText, note, type Row, sayJson, sayList, sayTable } from './output.ts';
import { confirm } from './prompt.ts';
import { openSession, type Session } from './session.ts';
import { addTemplateCommands } from './templates.ts';
import { whole } from './values.ts';

/** `berth admin`, for tokens with the scope `admin`. */
export function addAdminCommands(program: Command): void {
  const admin = program.command('admin').description('Administration; needs the scope admin');
  admin
    .command('capacity')
    .description('Show total, reserved and free memory, CPUs and disk, and idle containers')
    .action(async (_: unknown, command: Command) => capacity(await openSession(command)));
  admin
    .command('warm')
    .description('Show containers started in advance, and how many creations used one')
    .option('--empty', 'Remove unused ones; they are replaced as usual')
    .action(async ({ empty }: { empty?: boolean }, command: Command) => {
      const session = await openSession(command);
      await (empty ? emptyWarm(session) : warm(session));
    });
  addTemplateCommands(admin.command('templates').description('Templates: prepared images and snapshots'));
  addNodes(admin.command('nodes').description('Nodes: the machines of a cluster'));
  admin
    .command('users')
    .description('List users')
    .option('--tier <tier>', 'Filter by tier')
    .option('--username <name>', 'Filter by name')
    .action(async (options: { tier?: string; username?: string }, command: Command) =>
      users(await openSession(command), options),
    );
  admin
    .command('containers')
    .description('List containers of all users')
    .option('--user <id>', 'Filter by user')
    .option('-s, --status <status>', 'Filter by status: creating, running, paused, stopped, error or deleted')
    .action(async (options: { user?: string; status?: api.ListedStatus }, command: Command) =>
      containers(await openSession(command), options),
    );
  admin
    .command('move <container> [node]')
    .description('Move a container with its data to another node (default: the one with the most room)')
    .option('-y, --yes', 'Do not ask for confirmation')
    .action(async (id: string, node: string | undefined, { yes }: { yes?: boolean }, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      doing.subject = id;
      if (!yes)
        await confirm(`Move ${id}? If it is running, it is stopped until its data is copied, and recreated there.`);
      const moved = await berth.admin.moveContainer(id, { ...(node !== undefined && { node }), signal });
      if (isJson) sayJson(moved);
      else note(`${moved.name}: ${moved.status} on ${moved.node}`);
    });
  admin
    .command('usage')
    .description('Show usage of all users by day')
    .option('--user <id>', 'Filter by user')
    .option('--from <day>', 'First day, such as 2026-11-01')
    .option('--to <day>', 'Last day, inclusive')
    .action(async (options: { user?: string; from?: string; to?: string }, command: Command) =>
      usage(await openSession(command), options),
    );
  admin
    .command('audit')
    .description('Show the audit log, newest first')
    .option('--user <id>', 'Actions by this user, or on their resources')
    .option('--action <action>', 'Filter by action, such as container.start')
    .option('-n, --limit <number>', 'Number of entries', whole, 50)
    .action(async (options: { user?: string; action?: string; limit: number }, command: Command) =>
      audit(await openSession(command), options),
    );
  admin
    .command('reconcile')
    .description('Compare all containers with Docker, and repair differences')
    .action(async (_: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const report = await berth.admin.reconcile({ signal });
      if (isJson) sayJson(report);
      else sayTable(['WHAT', 'COUNT'], Object.entries(report));
    });
}

async function capacity({ berth, isJson, signal }: Session): Promise<void> {
  const found = await berth.admin.capacity({ signal });
  if (isJson) {
    sayJson(found);
    return;
  }
  const { memory_mb: memory, cpu_shares: cpu, free_memory_mb: freeMemory, free_disk_mb: freeDisk } = found;
  const given = (amount: api.AmountView, show: typeof size): Row => [
    show(amount.total),
    show(amount.limit),
    show(amount.reserved),
  ];
  sayTable(
    ['WHAT', 'TOTAL', 'LIMIT', 'RESERVED', 'FREE', 'KEPT FREE'],
    [
      ['memory', ...given(memory, size), size(freeMemory.free), size(freeMemory.reserve)],
      ['cpus', ...given(cpu, cpus), null, null],
      ['disk', null, null, null, size(freeDisk.free), size(freeDisk.reserve)],
    ],
  );
  const { containers: unused, cpu_shares: each } = found.idle;
  const cost = each === null ? '' : `; an idle sandbox uses ${(each / 10).toFixed(1)}% of a core`;
  note(`${String(unused)} idle (not used for 10 minutes)${cost}`);
}

async function warm({ berth, isJson, signal }: Session): Promise<void> {
  const pool = await berth.admin.warm({ signal });
  if (isJson) {
    sayJson(pool);
    return;
  }
  const rows = pool.slots.map((slot): Row => [
    slot.key,
    slot.image,
    size(slot.memory_mb),
    cpus(slot.cpu_shares),
    size(slot.disk_mb),
    slot.wanted,
    slot.ready,
    slot.making,
    slot.releasing,
  ]);
  sayTable(['KEY', 'IMAGE', 'MEMORY', 'CPUS', 'DISK', 'WANTED', 'READY', 'STARTING', 'RELEASING'], rows);
  const misses = pool.misses.map(({ reason, count }) => `${reason} ${String(count)}`).join(', ');
  note(
    `${pool.mode}; used by ${String(pool.hits)} ${pool.hits === 1 ? 'creation' : 'creations'}${misses === '' ? '' : `; not used: ${misses}`}`,
  );
  if (pool.waiting_for !== null) note(`below target: ${pool.waiting_for}`);
}

async function emptyWarm({ berth, isJson, signal }: Session): Promise<void> {
  const emptied = await berth.admin.emptyWarm({ signal });
  if (isJson) sayJson(emptied);
  else note(`${String(emptied.count)} removed`);
}

interface NodeVerb {
  readonly name: 'drain' | 'activate' | 'forget';
  readonly description: string;
  /** The consequence, shown in the confirmation. */
  readonly warning: string;
  readonly act: (
    admin: Session['berth']['admin'],
    name: string,
    options: { readonly move?: boolean; readonly signal: AbortSignal },
  ) => Promise<api.NodeView>;
}

const NODE_VERBS: readonly NodeVerb[] = [
  {
    name: 'drain',
    description: 'Block new placements and starts on a node; running containers keep running',
    warning: 'No containers are placed or started there; running containers keep running.',
    act: (admin, name, options) => admin.drainNode(name, options),
  },
  {
    name: 'activate',
    description: 'Allow placements and starts on a node again',
    warning: 'Containers are placed and started there again.',
    act: (admin, name, { signal }) => admin.activateNode(name, { signal }),
  },
  {
    name: 'forget',
    description: 'Give up a lost node and the data of its containers',
    warning: 'Its containers and all their data are lost. Use this only if the node never comes back.',
    act: (admin, name, { signal }) => admin.forgetNode(name, { signal }),
  },
];

function addNodes(nodes: Command): void {
  nodes
    .command('ls', { isDefault: true })
    .description('List nodes with capacity and usage')
    .action(async (_: unknown, command: Command) => {
      const { berth, isJson, signal } = await openSession(command);
      const all = await berth.admin.nodes({ signal });
      sayList(all, {
        isJson,
        head: ['NAME', 'STATE', 'AVAILABILITY', 'POOL', 'CONTAINERS', 'IDLE', 'MEMORY', 'CPUS', 'PROBLEM'],
        row: rowOfNode,
      });
    });
  for (const { name: verb, description, warning, act } of NODE_VERBS) {
    const asked = nodes
      .command(`${verb} <node>`)
      .description(description)
      .option('-y, --yes', 'Do not ask for confirmation')
      .action(async (name: string, { yes, move }: { yes?: boolean; move?: boolean }, command: Command) => {
        const { berth, isJson, signal } = await openSession(command);
        doing.subject = name;
        const what = move ? `${warning} They are moved to other nodes.` : warning;
        if (!yes) await confirm(`${verb[0]?.toUpperCase() ?? ''}${verb.slice(1)} ${name}? ${what}`);
        const node = await act(berth.admin, name, { ...(move && { move }), signal });
        if (isJson) sayJson(node);
        else note(`${name}: ${node.state}, ${node.availability}${node.evacuation ? leftOn(node.evacuation) : ''}`);
      });
    if (verb === 'drain') asked.option('--move', 'Move its containers to other nodes, in the background');
  }
}

function leftOn({ left, not_moved: notMoved }: api.EvacuationView): string {
  return `, ${String(left)} to move${notMoved.length > 0 ? `, ${String(notMoved.length)} failed so far` : ''}`;
}

function rowOfNode(node: api.NodeView): Row {
  const { name, state, swarm_state: swarm, availability, pool, containers: count, used, capacity: has } = node;
  const { problem, avoided, idle_containers: idle } = node;
  return [
    name,
    state === 'reachable' && swarm !== 'ready' ? `${state} (Swarm: ${swarm})` : state,
    availability,
    pool,
    count,
    idle,
    `${size(used.memory_mb) ?? '?'} of ${size(has.memory_mb) ?? '?'}`,
    `${cpus(used.cpu_shares) ?? '?'} of ${cpus(has.cpu_shares) ?? '?'}`,
    problem ?? (avoided && `creations fail there: ${avoided.reason}`),
  ];
}

async function users(
  { berth, isJson, signal }: Session,
  { tier, username }: { tier?: string; username?: string },
): Promise<void> {
  const filter = { ...(tier !== undefined && { tier }), ...(username !== undefined && { username }), signal };
  const all = await berth.admin.users(filter).all();
  sayList(all, {
    isJson,
    head: ['ID', 'USERNAME', 'TIER', 'SUSPENDED', 'SESSION ENDS', 'AGE'],
    row: ({ id, username, tier, suspended_at: suspended, session_expires_at: ends, created_at: since }) => [
      id,
      username,
      tier,
      suspended === null ? 'no' : `since ${suspended}`,
      ends,
      age(since),
    ],
  });
}

async function containers(
  { berth, isJson, signal }: Session,
  { user, status }: { user?: string; status?: api.ListedStatus },
): Promise<void> {
  const filter = { ...(user !== undefined && { user_id: user }), ...(status && { status }), signal };
  const all = await berth.admin.containers(filter).all();
  sayList(all, {
    isJson,
    head: ['ID', 'NAME', 'USER', 'STATUS', 'IMAGE', 'MEMORY', 'CPUS', 'NODE', 'AGE'],
    row: (each) => [
      each.db_id.slice(0, 8),
      each.name,
      each.user_id,
      each.status_reason === null ? each.status : `${each.status} (${each.status_reason})`,
      each.image,
      size(each.resources.memory_mb),
      cpus(each.resources.cpu_shares),
      each.node,
      age(each.created_at),
    ],
  });
}

async function usage(
  { berth, isJson, signal }: Session,
  { user, from, to }: { user?: string; from?: string; to?: string },
): Promise<void> {
  const days = { ...(from !== undefined && { from }), ...(to !== undefined && { to }) };
  const all = await berth.admin.usage({ ...days, ...(user !== undefined && { user_id: user }), signal }).all();
  sayList(all, {
    isJson,
    head: ['DAY', 'USER', ...USAGE_HEAD],
    row: (each) => [each.day, each.user_id, ...usageCells(each)],
  });
}

/** Maximum page size of the audit. */
const MOST_ENTRIES_A_PAGE = 200;

async function audit(
  { berth, isJson, signal }: Session,
  { user, action, limit }: { user?: string; action?: string; limit: number },
): Promise<void> {
  const filter = { ...(user !== undefined && { user_id: user }), ...(action !== undefined && { action }) };
  const entries: api.AuditEntryView[] = [];
  for await (const entry of berth.admin.audit({ ...filter, limit: Math.min(limit, MOST_ENTRIES_A_PAGE), signal })) {
    entries.push(entry);
    if (entries.length >= limit) break;
  }
  sayList(entries, {
    isJson,
    head: ['AT', 'ACTION', 'OUTCOME', 'BY', 'ON', 'FROM'],
    row: (each) => [
      each.at,
      each.action,
      each.outcome,
      each.user_id ?? 'Berth',
      each.container_id ?? each.target_id,
      each.address,
    ],
  });
}

/** @param mebibytes null if unknown */
function size(mebibytes: number | null): string | null {
  return mebibytes === null ? null : mebibytesText(mebibytes);
}

/** @param shares null if unknown */
function cpus(shares: number | null): string | null {
  return shares === null ? null : String(shares / 1_000);
}
