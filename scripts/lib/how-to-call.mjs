/** What a person is told once everything runs: where it is, a token, a first call. */
import { demoToken } from './demo-token.mjs';
import { say } from './steps.mjs';

export const creation = (url, token) => {
  const body = '{"image":"sandbox","name":"my-first"}';
  return `curl -X POST ${url}/api/containers -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '${body}'`;
};

/** @returns {Promise<string | undefined>} a token to try the API with; in production none is made up */
export async function tokenToTry({ url, settings, env, file }) {
  return settings.NODE_ENV === 'production' ? undefined : demoToken({ url, env, file });
}

/** Lines with their names in a column: `[name, line, …further lines]`. */
export function sayTable(rows) {
  for (const [name, ...lines] of rows) {
    for (const [index, line] of lines.entries()) say(`  ${(index === 0 ? name : '').padEnd(7)}${line}`);
  }
}
