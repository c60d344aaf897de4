/**
 * True in `npm run test:more`, which runs some files of `npm test` again (`jest.config.js`), with the whole of a long
 * table. `npm test` runs a sample of it.
 */
export const IS_MORE = process.env['TEST_MORE'] === 'true';

/**
 * The runtimes under which promises about the runtime are proved: gVisor in `npm test`, runc in `npm run test:more`,
 * both on a newer Docker (`scripts/test.mjs`).
 */
export const RUNTIMES = (process.env['TEST_RUNTIMES'] ?? 'runsc').split(',') as ('runsc' | 'runc')[];

/** Declares a test that only `npm run test:more` runs: a variant of a test that runs in both. */
export function inMore(title: string, work: () => Promise<void>): void {
  if (IS_MORE) it(title, work);
}
