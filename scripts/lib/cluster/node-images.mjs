/** Images of this machine on every node: made on one, and brought to the others, with the same ids. */
import { step } from '../steps.mjs';

/**
 * @param {import('./cluster-node.mjs').ClusterNode[]} nodes the first one has the images
 * @param {string[]} images
 */
export async function bringImages([first, ...others], images) {
  for (const { api, name } of others) {
    const missing = [];
    for (const image of images) if ((await idOf(api, image)) !== (await idOf(first.api, image))) missing.push(image);
    if (missing.length === 0) continue;
    await step(`bringing ${missing.length} images to ${name}`, async () => {
      const names = missing.map((image) => `names=${encodeURIComponent(image)}`).join('&');
      const tar = await first.api.open('GET', `/images/get?${names}`);
      await api.stream('POST', '/images/load?quiet=1', { tar });
    });
  }
}

async function idOf(api, image) {
  return (await api.hasImage(image)) ? (await api.call('GET', `/images/${image}/json`)).Id : undefined;
}
