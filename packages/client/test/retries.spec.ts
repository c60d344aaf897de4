import { readFileSync } from 'node:fs';
import type { BerthError } from '../src/index.ts';
import { retryDelay } from '../src/retries.ts';

/** Each code of the catalogue of errors, and whether the same request may be sent again. */
const CATALOGUE = [...readFileSync('docs/errors.md', 'utf8').matchAll(/^\| \d{3} +\| \[`(\w+)`\]\S+ +\| (.*?) +\|$/gm)];

/** What the client asks for again. @param isRepeatable whether it does no harm twice */
function retried(isRepeatable: boolean): [string, string][] {
  return CATALOGUE.map(([, code = '', again = '']): [string, string] => [code, again]).filter(([code]) => {
    const error = { code, status: 0, retryAfterMs: null } as BerthError;
    return retryDelay({ error, tries: 1, maxRetries: 1, isRepeatable }) !== null;
  });
}

it('the client must ask again for nothing that the catalogue of errors advises against', () => {
  expect(CATALOGUE.length).toBeGreaterThan(100);
  expect(retried(false).length).toBeGreaterThan(3);
  expect(retried(false).filter(([, again]) => again !== 'later')).toEqual([]);
  expect(retried(true).filter(([, again]) => again === 'no')).toEqual([]);
});
