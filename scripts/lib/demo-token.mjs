/** A token to try the API with: the last one if it still works, otherwise a new one. Never in production. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.mjs';
import { projectRoot } from './project.mjs';

async function allows({ url, token, scopes }) {
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

/**
 * @param {{ url: string, env: object, file: string, scopes?: string[] }} options
 *   file: where it is kept; scopes: what it must allow, those of an ordinary token if absent
 * @returns {Promise<string>}
 */
export async function demoToken({ url, env, file, scopes = [] }) {
  const last = readToken(file);
  if (last && (await allows({ url, token: last, scopes }))) return last;
  const cli = join('dist', 'src', 'cli', 'token.js');
  const asked = scopes.length > 0 ? ['--scopes', scopes.join(',')] : [];
  const output = await run(process.execPath, [cli, '--user', 'demo', '--tier', 'pro', '--name', 'start', ...asked], {
    cwd: projectRoot,
    env,
  });
  const token = output.match(/berth_[0-9a-f]{64}/)?.[0] ?? output.trim();
  writeFileSync(file, `${token}\n`, { mode: 0o600 });
  return token;
}
