/** What a person is told once everything runs: where it is, a token, a first call. */
import { demoToken } from './demo-token.mjs';
import { say } from './steps.mjs';

export const creation = (url, token) => {
  const body = '{"image":"sandbox","name":"my-first"}';
  return `curl -X POST ${url}/api/containers -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '${body}'`;
};

/** @returns {Promise<string | undefined>} a token to try the API with; in production none is made up */
export async function tokenToTry({ settings, ...options }) {
  return settings.NODE_ENV === 'production' ? undefined : demoToken({ ...options, tiersFile: settings.TIERS_FILE });
}

/**
 * A link that signs in the first person who opens it. The code is in the fragment, which no browser sends or logs.
 * @returns {Promise<string | undefined>} nothing where the console was not built
 */
export async function signInLink(url, token) {
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
  const page = await fetch(url, { signal: AbortSignal.timeout(5000) }).catch(() => undefined);
  await page?.body?.cancel();
  if (!page?.ok) return undefined;
  const response = await fetch(`${url}/api/auth/codes`, { method: 'POST', headers, body: '{"expires_in":3600}' });
  const { code } = await response.json();
  return code && `${url}/#code=${code}`;
}

/** Lines with their names in a column: `[name, line, …further lines]`. */
export function sayTable(rows) {
  for (const [name, ...lines] of rows) {
    for (const [index, line] of lines.entries()) say(`  ${(index === 0 ? name : '').padEnd(9)}${line}`);
  }
}
