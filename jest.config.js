// Plain JavaScript: jest on Node.js 20 cannot load a TypeScript configuration without one more dependency.
const shared = {
  testEnvironment: 'node',
  // What is built and what is tested are compiled alike: options in .swcrc.
  transform: { '^.+\\.ts$': '@swc/jest' },
};

/** `npm test` runs `*.e2e-spec.ts`, `npm run test:more` the long rest, `*.more-spec.ts` (`scripts/test.mjs` sets the variable). */
const isMore = process.env.TEST_MORE === 'true';
const tests = isMore ? '*.more-spec.ts' : '*.e2e-spec.ts';

/** Tests of data run once per database: the same files, another `TEST_DATABASE`. */
const onDatabase = (database) => ({
  ...shared,
  displayName: database,
  // Several processes on one database: SQLite belongs to a single one.
  testMatch: ['data', ...(database === 'postgres' ? ['cluster'] : [])].map(
    (folder) => `<rootDir>/test/${folder}/**/${tests}`,
  ),
  setupFiles: [`<rootDir>/test/support/database-${database}.ts`],
});

module.exports = {
  // A whole test's, where its file sets none: far more than any needs, as the machine may be slow and busy with others.
  testTimeout: 60_000,
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['src', 'test/unit', 'test/faults'].map((folder) => `<rootDir>/${folder}/**/*.spec.ts`),
    },
    onDatabase('sqlite'),
    onDatabase('postgres'),
    {
      ...shared,
      displayName: 'e2e',
      testMatch: [`<rootDir>/test/e2e/**/${tests}`],
      setupFiles: ['<rootDir>/test/support/database-sqlite.ts'],
    },
    {
      ...shared,
      // On services that may be killed: `npm run test:faults` brings them.
      displayName: 'faults',
      testMatch: ['<rootDir>/test/faults/**/*.e2e-spec.ts'],
      setupFiles: ['<rootDir>/test/support/database-postgres.ts'],
    },
    {
      ...shared,
      // On a Docker that keeps disk quotas: `npm run test:quota` brings one.
      displayName: 'quota',
      testMatch: ['<rootDir>/test/quota/**/*.e2e-spec.ts'],
      setupFiles: ['<rootDir>/test/support/database-sqlite.ts'],
    },
  ],
};
