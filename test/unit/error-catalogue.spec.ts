import { readFileSync } from 'node:fs';
import { errorCatalogue } from '../../scripts/docs/error-catalogue';
import { type AnswerCode, GUIDANCE } from '../../src/errors/error-guidance';
import { FAULT_DESCRIPTIONS } from '../../src/errors/api-faults';
import { ERRORS, FAILURE_REASONS } from '../../src/errors/domain-error';

const codes = Object.keys(GUIDANCE) as AnswerCode[];

describe('the catalogue of errors', () => {
  const document = errorCatalogue();

  it('must be docs/errors.md to the letter: `npm run docs:errors` writes it', () => {
    expect(readFileSync('docs/errors.md', 'utf8') === document).toBe(true);
  });

  it('must have every code, and of those of the table the status', () => {
    const all = new Set<string>([...Object.keys(ERRORS), ...FAILURE_REASONS]);
    all.delete('client_gone');
    expect([...codes].sort()).toEqual([...all].sort());
    const headings = [...document.matchAll(/^### (\w+)$/gm)].map(([, code]) => code);
    expect(headings).toEqual([...all].sort());
    const unsaid = Object.entries(ERRORS).filter(
      ([code, { status }]) => !new RegExp(`\n### ${code}\n\n\\*\\*[^*]*${String(status)}`).test(document),
    );
    expect(unsaid).toEqual([]);
  });

  it('must not say of what has a `Retry-After` that it is refused again', () => {
    const wrong = codes.filter((code) => FAULT_DESCRIPTIONS[code]?.retryAfter && GUIDANCE[code].retry === 'no');
    expect(wrong).toEqual([]);
  });
});
