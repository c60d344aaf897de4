/**
 * `npm run test:more`, which runs some files of `npm test` again (`jest.config.js`): there the whole of a long table,
 * here what represents it.
 */
export const IS_MORE = process.env['TEST_MORE'] === 'true';

/**
 * The runtimes under which what depends on the runtime is proved: gVisor in `npm test`, runc with `npm run test:more`,
 * both on a newer Docker (`scripts/test.mjs`).
 */
export const RUNTIMES = (process.env['TEST_RUNTIMES'] ?? 'runsc').split(',') as ('runsc' | 'runc')[];

/** A test of a file of both that `npm run test:more` alone runs: a variant of what another one proves for both. */
export function inMore(title: string, work: () => Promise<void>): void {
  if (IS_MORE) it(title, work);
}
