/** The nodes that servers put sandboxes into, with their images, and gVisor tried on one. */
import { join } from 'node:path';
import { checkGvisor } from '../gvisor.mjs';
import { runFolder } from '../project.mjs';
import { ensureSandboxImages, minimalImage, sandboxImage } from '../sandbox-image.mjs';
import { atEnd } from '../shutdown.mjs';
import { say, step } from '../steps.mjs';
import { addFirewallImage, firewallImage } from './firewall-image.mjs';
import { NodeCluster } from './node-cluster.mjs';
import { bringImages } from './node-images.mjs';

/** Of everything of a cluster of several nodes: another one than that of a single Docker. */
export const nodesFolder = join(runFolder, 'nodes');

/**
 * @param {number} count
 * @returns {Promise<{ cluster: NodeCluster, docker: { api: object, hasGvisor: boolean }, env: object }>} env: what
 *   servers need to know of the nodes
 * @throws Problem
 */
export async function prepareNodes(count) {
  const cluster = new NodeCluster(nodesFolder, { count });
  atEnd('stopping the nodes', (hurry) => step('stopping the nodes', () => cluster.stop({ hurry })));
  await cluster.start();
  const [{ api }] = cluster.nodes;
  await ensureSandboxImages(api);
  await step('making the image of the firewall', () => addFirewallImage(api));
  const minimal = (await api.hasImage(minimalImage)) ? [minimalImage] : [];
  await bringImages(cluster.nodes, [sandboxImage, ...minimal, firewallImage]);
  const docker = { api, hasGvisor: await checkGvisor({ api }, { image: sandboxImage }) };
  for (const node of cluster.nodes) {
    node.daemon.onUnexpectedEnd(() => say(`! ${node.name} has ended by itself; its log: ${node.daemon.paths.log}`));
  }
  return { cluster, docker, env: { ...cluster.environment, NODE_FIREWALL_IMAGE: firewallImage } };
}
