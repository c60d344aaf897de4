const { readFileSync } = require('node:fs');

// Plain JavaScript: jest on Node.js 20 cannot load a TypeScript configuration without one more dependency.
const shared = {
  testEnvironment: '<rootDir>/test/support/jest-environment.js',
  // What is built and what is tested are compiled alike: options in .swcrc.
  transform: { '^.+\\.ts$': '@swc/jest' },
  // Checkouts of earlier revisions, which the benchmark compares with.
  modulePathIgnorePatterns: ['<rootDir>/.berth/'],
  // Loaded on demand, under the name of what it is built to.
  moduleNameMapper: {
    '^(\\.\\./.*packages/simulator/.*)\\.js$': '$1',
    '^(\\.\\./.*(?:ormconfig|src/database/index))\\.js$': '$1',
    // The client as it is now, built or not.
    '^@berth/client$': '<rootDir>/packages/client/src/index.ts',
  },
};

/**
 * `npm test` runs `*.e2e-spec.ts`, `npm run test:more` the long rest, `*.more-spec.ts` (`scripts/test.mjs` sets the
 * variable).
 */
const isMore = process.env.TEST_MORE === 'true';
/** CI asks for shorter runs: test/README.md. */
const isSample = process.env.BERTH_TEST_OPERATIONS !== undefined;
const tests = isMore ? '*.more-spec.ts' : '*.e2e-spec.ts';
/** The database on which a sample has the server die at each call (`*crash.more-spec.ts`): another in the next draw. */
const crashDatabase = Number(process.env.TEST_DRAW ?? 0) % 2 === 0 ? 'sqlite' : 'postgres';
const crashes = (database) => (isSample && database !== crashDatabase ? ['/test/data/[^/]*crash[.]more-spec'] : []);

/** Long files of which a sample of everything has every other one, in turn: by their recorded durations. */
const IN_TURN = /^(e2e|postgres) (?!test\/data\/).*more-spec/;
const LONG_S = 60;
/** @returns {string[]} patterns of the files that this sample leaves to the next */
function othersTurn(project) {
  if (!isMore || process.env.TEST_TURN === undefined) return [];
  const seconds = JSON.parse(readFileSync(`${__dirname}/test/support/file-seconds.json`, 'utf8'));
  const long = Object.keys(seconds).filter((key) => IN_TURN.test(key) && seconds[key] >= LONG_S);
  const others = long.filter((_, at) => at % 2 !== Number(process.env.TEST_TURN));
  return others.filter((key) => key.startsWith(`${project} `)).map((key) => `/${key.slice(project.length + 1)}$`);
}

const dataTest = (name) => `<rootDir>/test/data/${name}.e2e-spec.ts`;
const e2eTest = (name) => `<rootDir>/test/e2e/${name}.e2e-spec.ts`;

/**
 * Tests of `test/data` that `npm test` runs on SQLite alone, and `npm run test:more` on PostgreSQL too: no database can
 * break their promises alone, or `test/cluster` proves them there with several processes. All others run on both.
 */
const ANY_DATABASE = [
  'agents',
  'audit',
  'authorization',
  'capacity',
  'code',
  'docker-changed',
  'e2b',
  'env',
  'event-history',
  'exec-access',
  'failed-rollbacks',
  'file-watch',
  'guests',
  'hostile-input',
  'idempotency',
  'images',
  'inside-commands',
  'inside-places',
  'interruptions',
  'kept-programs',
  'leases',
  'lifecycle-create-delete',
  'lifecycle-outside',
  'lifecycle-start-stop',
  'lifecycle-update',
  'limits',
  'lost-commits',
  'mcp',
  'metrics',
  'moves',
  'names',
  'network-policies',
  'nodes',
  'partial-updates',
  'pause',
  'previews',
  'previews-hostile',
  'purge',
  'random-operations',
  'restore',
  'rexec-clients',
  'roles',
  'sick-nodes',
  'sign-in',
  'snapshot-copies',
  'snapshots-nodes',
  'ssh',
  'start-command',
  'stats',
  'statuses',
  'token-command',
  'token-routes',
  'volume-moves',
  'warm-nodes',
  'warm-templates',
].map(dataTest);

const clusterTest = (name) => `<rootDir>/test/cluster/${name}.e2e-spec.ts`;

/** `placement` with two servers: with one, `npm test` runs it on SQLite. */
const LATER_ON_CLUSTERS = [
  dataTest('placement'),
  clusterTest('agents-processes'),
  clusterTest('clocks'),
  clusterTest('database-restart'),
  clusterTest('evacuation'),
  clusterTest('processes'),
  clusterTest('rate-limits'),
  clusterTest('takeover'),
  clusterTest('webhooks-processes'),
];

/**
 * Tests that `npm run test:more` alone runs, so that `npm test` stays short: what several machines and several server
 * processes promise, and what takes Docker longest. `npm test` proves one server on one machine.
 */
const LATER = {
  data: ['moves', 'nodes', 'sick-nodes', 'snapshot-copies', 'snapshots-nodes', 'volume-moves', 'warm-nodes'].map(
    dataTest,
  ),
  cluster: LATER_ON_CLUSTERS,
  e2e: ['agent-process', 'docker-layers', 'rate-limits'].map(e2eTest),
};

/** Tests of `test/data` of which `npm test` runs a part on PostgreSQL, and `npm run test:more` all: `extent.ts`. */
const PARTLY_ANY_DATABASE = ['snapshots', 'templates', 'warm-pool'].map(dataTest);

/** Tests of `test/e2e` with a rest that `npm run test:more` runs: tests and rows of tables, and nothing twice. */
const REST = [
  'allow-lists',
  'docker-isolation',
  'docker-supervisor',
  'host-firewall',
  'hostile-supervisor',
  'inside-survival',
  'inside-terminals',
  'registry',
  'sandbox-networks',
  'sandbox-proof',
  'snapshots',
].map(e2eTest);

/** Tests of data, on the database of `TEST_DATABASE`. */
const onDatabase = (database) => ({
  ...shared,
  displayName: database,
  setupFiles: [`<rootDir>/test/support/databases/database-${database}.ts`],
});

const sqlite = {
  ...onDatabase('sqlite'),
  testMatch: [`<rootDir>/test/data/**/${tests}`, ...(isMore ? LATER.data : [])],
  testPathIgnorePatterns: isMore ? crashes('sqlite') : LATER.data,
};

const postgres = {
  ...onDatabase('postgres'),
  // Several processes on one database are PostgreSQL's alone: SQLite belongs to a single one.
  testMatch: [
    `<rootDir>/test/data/**/${tests}`,
    `<rootDir>/test/cluster/**/${tests}`,
    ...(isMore && !isSample ? [...ANY_DATABASE, ...PARTLY_ANY_DATABASE] : []),
    ...(isMore ? LATER.cluster : []),
  ],
  testPathIgnorePatterns: isMore
    ? [...crashes('postgres'), ...othersTurn('postgres')]
    : [...ANY_DATABASE, ...LATER.cluster],
};

/** Where `scripts/lib/jest-run.mjs` reads the results of a run that it began. */
const report = process.env.TEST_REPORT;

module.exports = {
  reporters: ['default', ...(report ? [['<rootDir>/test/support/jest-report.js', { output: report }]] : [])],
  // A whole test's, where its file sets none: far more than any needs, as the machine may be slow and busy with others.
  testTimeout: 60_000,
  testSequencer: '<rootDir>/test/support/longest-first.js',
  projects: [
    {
      ...shared,
      displayName: 'unit',
      testMatch: ['src', 'test/unit', 'test/faults', 'packages/*/test', 'apps/*/test'].map(
        (folder) => `<rootDir>/${folder}/**/*.spec.ts`,
      ),
    },
    sqlite,
    postgres,
    {
      ...shared,
      displayName: 'e2e',
      testMatch: [
        `<rootDir>/test/e2e/**/${tests}`,
        `<rootDir>/packages/*/test/**/${tests}`,
        ...(isMore ? [...REST, ...LATER.e2e] : []),
      ],
      testPathIgnorePatterns: isMore ? othersTurn('e2e') : LATER.e2e,
      setupFiles: ['<rootDir>/test/support/databases/database-sqlite.ts'],
    },
    {
      ...shared,
      // What is measured of one server's process: by itself, as what earlier files left in a worker would count.
      displayName: 'alone',
      testMatch: ['<rootDir>/test/alone/**/*.more-spec.ts'],
      setupFiles: ['<rootDir>/test/support/databases/database-sqlite.ts'],
    },
    {
      ...shared,
      // On services that may be killed: `npm run test:faults` brings them.
      displayName: 'faults',
      testMatch: ['<rootDir>/test/faults/**/*.e2e-spec.ts'],
      setupFiles: ['<rootDir>/test/support/databases/database-postgres.ts'],
    },
    {
      ...shared,
      // On the same Docker, behind those: while such a container ends, Docker removes no image.
      displayName: 'processes',
      testMatch: [`<rootDir>/test/processes/**/${tests}`],
      setupFiles: ['<rootDir>/test/support/databases/database-sqlite.ts'],
    },
    {
      ...shared,
      // On several Docker nodes, which may be killed and cut off: a part of `npm run test:more`, or
      // `node scripts/test.mjs nodes`.
      displayName: 'nodes',
      testMatch: ['<rootDir>/test/nodes/**/*.more-spec.ts'],
      setupFiles: ['<rootDir>/test/support/databases/database-postgres.ts'],
    },
    {
      ...shared,
      // On a Docker that keeps disk quotas: `npm run test:quota` brings one.
      displayName: 'quota',
      testMatch: ['<rootDir>/test/quota/**/*.e2e-spec.ts'],
      setupFiles: ['<rootDir>/test/support/databases/database-sqlite.ts'],
    },
  ],
};
