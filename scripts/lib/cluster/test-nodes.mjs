/**
 * What the tests on several nodes stand on: three nodes in a Swarm, a PostgreSQL and a Redis, all theirs alone. The
 * tests run in another process and have nodes killed, started, cut off and healed by a socket.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { offerActions } from '../control-socket.mjs';
import { testFolder } from '../project.mjs';
import { ensureQuickImages, sandboxImage } from '../sandbox-image.mjs';
import { atEnd } from '../shutdown.mjs';
import { step } from '../steps.mjs';
import { databaseActions, startPostgresServer, startRedisServer } from '../test-databases.mjs';
import { addTestImage, testImage } from '../test-image.mjs';
import { temporaryFolder } from '../test-remains.mjs';
import { addFirewallImage, firewallImage } from './firewall-image.mjs';
import { NodeCluster } from './node-cluster.mjs';
import { bringImages } from './node-images.mjs';

const COUNT = 3;
/** Of each node, in MiB, so that a few small sandboxes fill it. */
const MEMORY = 2048;

/** Test files run on these two at a time. */
export const CLUSTERS = ['nodes', 'nodes-2'];

const testNodes = (name) => new NodeCluster(join(testFolder, name), { count: COUNT });

/** Of a killed run. */
export async function discardEarlierNodes() {
  for (const earlier of CLUSTERS.map(testNodes)) {
    if (existsSync(earlier.folder)) {
      await step('removing the nodes that an earlier run left', () => earlier.discard());
    }
  }
}

/**
 * @param {string} name one of {@link CLUSTERS}
 * @returns {Promise<object>} environment variables for the tests
 * @throws Problem
 */
export async function startTestNodes(name) {
  const cluster = testNodes(name);
  atEnd('removing the nodes', () => step('removing the nodes', () => cluster.discard()));
  await cluster.start({ labels: () => ({ 'berth.memory': String(MEMORY), 'berth.cpus': '16' }) });
  const [first] = cluster.nodes;
  await addTestImage(first.api);
  await addFirewallImage(first.api);
  // For the copies of volumes.
  await ensureQuickImages(first.api);
  await bringImages(cluster.nodes, [testImage, firewallImage, sandboxImage]);
  const postgres = await step('starting PostgreSQL', () => startPostgresServer({ survivesCrash: true }));
  const redis = await step('starting Redis', startRedisServer);
  const actions = cluster.nodes.flatMap((node) =>
    ['kill', 'start', 'restart', 'cut', 'heal'].map((how) => [`/${node.name}/${how}`, () => node[how]()]),
  );
  const control = await offerActions(name, {
    ...Object.fromEntries(actions),
    '/all/ready': () => cluster.untilReady(),
    ...databaseActions({ postgres, redis }),
  });
  const described = join(temporaryFolder(), `${name}.json`);
  const ofNode = async ({ name, address, host, api }) => {
    const id = (await api.info()).Swarm.NodeID;
    return { id, name, address, host, socket: api.host };
  };
  const nodes = await Promise.all(cluster.nodes.map(ofNode));
  writeFileSync(described, JSON.stringify({ nodes, gateway: cluster.network.gateway, control }));
  return {
    ...cluster.environment,
    NODE_FIREWALL_IMAGE: firewallImage,
    TEST_NODES: described,
    TEST_FAULTS_CONTROL: control,
    TEST_POSTGRES_URL: postgres.url,
    TEST_REDIS_URL: redis.url,
    // For the tests of the engine of a single Docker.
    TEST_NODE_HOST: first.host,
    // What tests look at behind Berth's back, where it does not matter on which node.
    DOCKER_HOST: first.api.host,
  };
}
