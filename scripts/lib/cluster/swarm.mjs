/** Makes one Swarm of the nodes, from any part of one that exists. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '../problem.mjs';

const SWARM_PORT = 2377;
/** More make it slower and no safer. */
const MANAGERS = 3;
const READY_MS = 120_000;

export const isManager = ({ number }) => number <= MANAGERS;

/** @param {import('./cluster-node.mjs').ClusterNode[]} nodes the first ones become its managers @throws Problem */
export async function formSwarm(nodes) {
  const [first, ...others] = nodes;
  const isIn = async ({ api }) => (await api.info()).Swarm.LocalNodeState !== 'inactive';
  const place = ({ address }) => ({
    ListenAddr: `${address}:${SWARM_PORT}`,
    AdvertiseAddr: address,
    DataPathAddr: address,
  });
  if (!(await isIn(first))) await first.api.call('POST', '/swarm/init', { json: place(first) });
  for (const node of others) {
    if (await isIn(node)) continue;
    const { JoinTokens } = await first.api.call('GET', '/swarm');
    const JoinToken = isManager(node) ? JoinTokens.Manager : JoinTokens.Worker;
    const RemoteAddrs = [`${first.address}:${SWARM_PORT}`];
    await node.api.call('POST', '/swarm/join', { json: { ...place(node), RemoteAddrs, JoinToken } });
  }
  await untilReady(nodes);
}

/** Waits until its leader sees every node. */
export async function untilReady(nodes) {
  const wanted = new Set(nodes.map(({ name }) => name));
  let seen = 'nothing';
  for (const until = performance.now() + READY_MS; performance.now() < until; await sleep(200)) {
    try {
      const listed = await listNodes(nodes[0]);
      const ready = listed.filter(({ Status: { State: state } }) => state === 'ready');
      if (ready.filter(({ Description: { Hostname: name } }) => wanted.has(name)).length >= wanted.size) return;
      seen = listed.map((node) => `${node.Description.Hostname} ${node.Status.State}`).join(', ');
    } catch (error) {
      seen = error.message;
    }
  }
  throw new Problem(`The Swarm's nodes were not ready within ${READY_MS / 1000} s.`, [
    seen,
    // Docker 26: such a manager does not know the others at its next start.
    'Where one was ended a few seconds after it had joined, remove the folder of the nodes to begin anew.',
  ]);
}

export function listNodes({ api }) {
  return api.call('GET', '/nodes', { signal: AbortSignal.timeout(5000) });
}

/**
 * @param {import('./cluster-node.mjs').ClusterNode} manager
 * @param {string} name of a node
 * @param {{ labels?: Record<string, string>, availability?: 'active' | 'drain' | 'pause' }} change labels: beside those
 *   that it has
 */
export async function changeNode(manager, name, { labels, availability }) {
  // Refused if another change, such as one of Swarm itself, was faster.
  for (let triesLeft = 10; ; triesLeft -= 1) {
    const node = (await listNodes(manager)).find((one) => one.Description?.Hostname === name);
    if (!node) throw new Problem(`There is no node ${name}.`);
    const Spec = { ...node.Spec, Labels: { ...node.Spec.Labels, ...labels } };
    if (availability) Spec.Availability = availability;
    try {
      await manager.api.call('POST', `/nodes/${node.ID}/update?version=${node.Version.Index}`, { json: Spec });
      return;
    } catch (error) {
      if (triesLeft <= 1) throw error;
      await sleep(100);
    }
  }
}
