/** A token to try the API with: the last one if it still works, otherwise a new one. Never in production. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { run } from './command.mjs';
import { projectRoot } from './project.mjs';

/** True if the token is valid and has these scopes. */
export async function allows({ url, token, scopes }) {
  const headers = { Authorization: `Bearer ${token}` };
  try {
    const response = await fetch(`${url}/api/me`, { headers, signal: AbortSignal.timeout(5000) });
    const { scopes: held = [] } = await response.json();
    return response.ok && scopes.every((scope) => held.includes(scope));
  } catch {
    return false;
  }
}

function readToken(file) {
  try {
    return readFileSync(file, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}

const USUAL_TIER = 'pro';

/**
 * @param {string | undefined} file the operator's tiers, which the server has read
 * @returns {string} the usual tier; if there is none of that name, the one with the most containers, guests' last
 */
export function demoTier(file) {
  if (!file) return USUAL_TIER;
  const { tiers } = JSON.parse(readFileSync(resolve(projectRoot, file), 'utf8'));
  if (tiers[USUAL_TIER]) return USUAL_TIER;
  const room = ([name, { containers }]) => (name === 'guest' ? 0 : containers);
  const [first] = Object.entries(tiers).sort((one, other) => room(other) - room(one));
  return first?.[0] ?? USUAL_TIER;
}

/**
 * @param {{ url: string, env: object, file: string, tiersFile?: string, scopes?: string[] }} options
 *   file: where it is kept; scopes: what it must allow; if absent: the usual scopes, and
 *   admin for the first user of the installation
 * @returns {Promise<string>}
 */
export async function demoToken({ url, env, file, tiersFile, scopes = [] }) {
  const last = readToken(file);
  if (last && (await allows({ url, token: last, scopes }))) return last;
  const cli = join('dist', 'src', 'cli', 'token.js');
  const asked = scopes.length > 0 ? ['--scopes', scopes.join(',')] : ['--first-is-admin'];
  const user = ['--user', 'demo', '--tier', demoTier(tiersFile), '--name', 'start'];
  const output = await run(process.execPath, [cli, ...user, ...asked], { cwd: projectRoot, env });
  const token = output.match(/berth_[0-9a-f]{64}/)?.[0] ?? output.trim();
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return token;
}
