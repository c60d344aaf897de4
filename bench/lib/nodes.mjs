/** The nodes that were started for a measurement, and what is done to them: as the tests on several nodes do. */
import { readFileSync } from 'node:fs';
import { request } from 'node:http';

const described = ({ TEST_NODES: file }) => JSON.parse(readFileSync(file, 'utf8'));

/** @returns {{ name: string, socket: string }[]} */
export const describedNodes = (env) => described(env).nodes;

/** @param {object} env of the nodes @param {string} name @param {'cut' | 'heal' | 'kill' | 'start'} how */
export async function askNode(env, name, how) {
  const options = { socketPath: described(env).control, path: `/${name}/${how}`, method: 'POST', agent: false };
  const status = await new Promise((resolve, reject) => {
    const asking = request(options, (response) => response.resume().once('end', () => resolve(response.statusCode)));
    asking.once('error', reject).end();
  });
  if (status !== 200) throw new Error(`${name} could not be ${how}`);
}
