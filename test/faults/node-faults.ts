import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, ApiClient } from '../support/clients/api-client';
import type { TestNode, TestNodes } from '../support/docker/test-nodes';
import type { DatabaseView } from './database-view';
import type { Excuse } from './excuses';
import { type Actions, type Begin, InVain, type Parts } from './fault-injector';
import { AWAY_MS } from './setting';
import type { RowTruth } from './truth';

type NodeFault = 'node_kill' | 'node_restart' | 'node_cut' | 'node_drain' | 'quorum_lost' | 'container_move';

/** A way to take nodes away and bring them back. */
interface Way {
  readonly name: string;
  readonly away: (node: TestNode) => Promise<void>;
  readonly back: (node: TestNode) => Promise<void>;
}

const KILL: Way = { name: 'without power', away: (node) => node.kill(), back: (node) => node.start() };
const CUT: Way = { name: 'cut off', away: (node) => node.cut(), back: (node) => node.heal() };

/** By then Berth's operations on a node that fell silent have ended. */
const OVER_MS = 8_000;
/** Maximum time until a node that is back is used again; a few seconds on an idle machine. */
const USED_WITHIN_MS = 90_000;
/** Maximum time for a decision of the managers, which may be away. */
const DECIDED_WITHIN_MS = 120_000;
const LOOK_AGAIN_MS = 500;
/** Allowed answers to a move while everything fails; empty if the process dies. */
const MOVED =
  /^(200|404 container_not_found|409 operation_in_progress|50[03] (move_failed|claim_lost|start_refused|copy_failed|docker_error|docker_unavailable|node_unavailable|no_capacity|database_\w+)|)$/;

/** Excuses for rows that are written late. */
const LATE: readonly Excuse[] = ['database_down', 'database_busy', 'stood_still', 'late'];

/** Faults of nodes. Each is over when Berth uses the nodes again. */
export function nodeFaults(parts: Parts, nodes: TestNodes): Actions<NodeFault> {
  const { random, turns } = parts;
  const one =
    (work: (node: TestNode) => Promise<unknown>) =>
    (begin: Begin): Promise<string> => {
      const node = random.pick(nodes.nodes);
      return turns.take(node.name, () => work(node).then(() => node.name), begin);
    };
  return {
    node_kill: one((node) => takeAway([node], KILL, parts)),
    node_cut: one((node) => takeAway([node], CUT, parts)),
    node_restart: one((node) =>
      parts.excuses.during('node_silent', {}, async () => {
        await node.restart();
        await usedAgain([node], parts);
      }),
    ),
    node_drain: one((node) => drain(node, parts)),
    container_move: () => move(parts),
    quorum_lost: (begin) => {
      const left = random.pick(nodes.nodes);
      const way = random.pick([KILL, CUT]);
      // Always in the same order, to avoid a deadlock.
      const [first, second] = nodes.nodes.filter((node) => node !== left);
      if (!first || !second) throw new Error('there are three nodes');
      const take = async (): Promise<string> => {
        await takeAway([first, second], way, parts);
        return `${first.name} and ${second.name}`;
      };
      return turns.take([first.name, second.name], take, begin);
    },
  };
}

async function takeAway(nodes: readonly TestNode[], { name, away, back }: Way, parts: Parts): Promise<void> {
  const { excuses, journal, random } = parts;
  const ms = random.pick(AWAY_MS);
  const names = nodes.map((node) => node.name).join(' and ');
  await excuses.during('node_silent', {}, async () => {
    journal.say(`${names}: ${name} for ${String(ms)} ms`);
    await Promise.all(nodes.map(away));
    await mustKeepRows(nodes, ms, parts);
    await Promise.all(nodes.map(back));
    await usedAgain(nodes, parts);
    journal.say(`${names}: back`);
  });
}

/** While a node does not answer, its rows must stay as they are. */
async function mustKeepRows(
  nodes: readonly TestNode[],
  ms: number,
  { database, excuses, journal }: Parts,
): Promise<void> {
  await delay(Math.min(ms, OVER_MS));
  if (ms <= OVER_MS) return;
  const since = Date.now();
  const before = await rowsOn(nodes, database).catch(() => []);
  await delay(ms - OVER_MS);
  const after = await rowsOn(nodes, database).catch(() => null);
  const excused = excuses.since(since - OVER_MS, { member: '', user: '' });
  if (after === null || LATE.some((excuse) => excused.has(excuse))) {
    journal.note('node', 'rows not looked at');
    return;
  }
  journal.note('node', 'rows looked at', { rows: before.length });
  for (const row of before) {
    if (row.operation !== null) continue;
    const now = after.find(({ id }) => id === row.id);
    if (now?.status === row.status && now.docker_id === row.docker_id) continue;
    const said = `${now?.status ?? 'not there'}, ${String(now?.docker_id)}`;
    journal.complain(`${row.id} was ${row.status} on a silent node, ${String(row.docker_id)}, and is ${said} now`);
  }
}

/** The rows of these nodes that are not deleted. */
async function rowsOn(nodes: readonly TestNode[], database: DatabaseView): Promise<RowTruth[]> {
  const isThere = ({ deleted_at, node_id }: RowTruth): boolean =>
    deleted_at === null && nodes.some(({ id }) => id === node_id);
  return (await database.rows()).filter(isThere);
}

/** Resolves when some process has reached each node since now, and would place containers there. */
async function usedAgain(nodes: readonly TestNode[], { cluster, operator, random, journal }: Parts): Promise<void> {
  const since = Date.now();
  const isUsed = (listed: readonly ListedNode[], { name }: TestNode): boolean =>
    listed.some((node) => node.name === name && node.problem === null && Date.parse(node.reachable_at ?? '') > since);
  let seen = 'nothing';
  while (Date.now() - since < USED_WITHIN_MS) {
    const { body } = await asked(new ApiClient(cluster.pick(random).url, operator), 'GET', '/api/admin/nodes');
    const listed = (body['nodes'] ?? []) as readonly ListedNode[];
    if (nodes.every((node) => isUsed(listed, node))) {
      journal.note('node', 'used again', { ms: Date.now() - since });
      return;
    }
    seen = JSON.stringify(body);
    await delay(LOOK_AGAIN_MS);
  }
  const names = nodes.map(({ name }) => name).join(' and ');
  journal.complain(`${names} are not used again ${String(USED_WITHIN_MS)} ms after they are back: ${seen}`);
}

interface ListedNode {
  readonly name: string;
  readonly problem: string | null;
  readonly reachable_at: string | null;
}

/** Moves a random container to the node with the most room. */
async function move({ cluster, cohabitation, database, operator, random, journal }: Parts): Promise<string> {
  const rows = await database.rows().catch(() => []);
  const live = rows.filter(({ deleted_at, node_id }) => deleted_at === null && node_id !== null);
  if (live.length === 0) throw new InVain('there is nothing to move');
  const { id } = random.pick(live);
  cohabitation.move(id);
  const path = `/api/admin/containers/${id}/move`;
  const { status, body } = await asked(new ApiClient(cluster.pick(random).url, operator), 'POST', path);
  const words = [status, body['code']].filter(Boolean).join(' ');
  journal.note('move', words, { id, body });
  if (!MOVED.test(words)) journal.complain(`${path} was answered ${String(status)} ${JSON.stringify(body)}`);
  if (status !== 200) throw new InVain(words);
  return id;
}

/** For some seconds nothing is placed or started on the node. Its containers stay, or are moved to other nodes. */
async function drain(node: TestNode, parts: Parts): Promise<void> {
  const { excuses, random, journal, database, cohabitation } = parts;
  const isEmptied = random.chance(0.5);
  await excuses.during('node_drained', {}, async () => {
    // Until the node is drained, further containers may come to it.
    if (isEmptied) for (const { id } of await database.rows()) cohabitation.move(id);
    if (!(await isDecided(node, isEmptied ? 'empty' : 'drain', parts))) throw new InVain('no manager decides');
    await delay(2_000 + 8_000 * random.next());
    if (!(await isDecided(node, 'activate', parts))) journal.complain(`${node.name} could not be activated`);
  });
}

async function isDecided(
  { name }: TestNode,
  how: 'drain' | 'empty' | 'activate',
  { cluster, operator, random, journal }: Parts,
): Promise<boolean> {
  const since = Date.now();
  const [route, body] = how === 'empty' ? ['drain', { move: true }] : [how, undefined];
  while (Date.now() - since < DECIDED_WITHIN_MS) {
    const api = new ApiClient(cluster.pick(random).url, operator);
    const answer = await asked(api, 'POST', `/api/admin/nodes/${name}/${route}`, body);
    if (answer.status === 200) {
      journal.note('decision', `${how} ${String(answer.body['availability'])}`, { name });
      return true;
    }
    await delay(LOOK_AGAIN_MS);
  }
  return false;
}

/** Answer of a process; status 0 if the process dies meanwhile. */
async function asked(
  api: ApiClient,
  method: string,
  path: string,
  body?: object,
): Promise<Pick<Answer, 'status' | 'body'>> {
  return api.call(method, path, body).catch((error: unknown) => {
    // What `fetch` throws, in any realm (hence by name). Any other error, such as an undocumented answer, is thrown.
    if ((error as { name?: unknown }).name === 'TypeError') return { status: 0, body: {} };
    throw error;
  });
}
