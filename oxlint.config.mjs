import { defineConfig } from 'oxlint';

/** What most modules may import. */
export const FOUNDATION = ['config', 'database', 'errors', 'logging', 'scheduling'];

/**
 * Which modules of `src/` a module may import; everything else is refused, so imports point one way and there is no
 * cycle. Other modules are entered by their `index.ts` alone.
 */
export const MODULES = {
  scheduling: [],
  database: ['config', 'errors', 'logging', 'scheduling'],
  errors: ['logging'],
  logging: ['config'],
  signals: ['config', 'logging'],
  engine: ['scheduling'],
  docker: ['config', 'engine', 'scheduling'],
  tracing: ['config', 'engine'],
  secrets: ['config'],
  tiers: FOUNDATION,
  auth: [...FOUNDATION, 'signals', 'tiers'],
  idempotency: [...FOUNDATION, 'auth', 'secrets'],
  accounts: [...FOUNDATION, 'http', 'audit', 'auth', 'containers', 'idempotency', 'tiers'],
  oidc: [...FOUNDATION, 'http', 'audit', 'auth', 'tiers'],
  images: [...FOUNDATION, 'auth', 'engine'],
  'rate-limits': [...FOUNDATION, 'http', 'signals', 'auth'],
  events: [...FOUNDATION, 'http', 'signals', 'auth', 'rate-limits'],
  http: ['config', 'errors', 'logging', 'scheduling'],
  agents: [
    ...FOUNDATION,
    'audit',
    'http',
    'signals',
    'auth',
    'idempotency',
    'tiers',
    'rate-limits',
    'events',
    'metrics',
  ],
  roles: [...FOUNDATION, 'auth'],
  audit: [...FOUNDATION, 'http', 'auth', 'events'],
  metrics: [...FOUNDATION, 'auth', 'engine', 'events'],
  usage: [...FOUNDATION, 'http', 'auth'],
  health: [...FOUNDATION, 'http', 'auth', 'engine', 'signals'],
  console: ['config', 'http'],
  containers: [
    ...FOUNDATION,
    'http',
    'signals',
    'auth',
    'tiers',
    'engine',
    'images',
    'events',
    'agents',
    'roles',
    'audit',
    'metrics',
    'secrets',
    'idempotency',
    'tracing',
    'usage',
  ],
  sandbox: [
    ...FOUNDATION,
    'http',
    'signals',
    'auth',
    'rate-limits',
    'tiers',
    'engine',
    'events',
    'audit',
    'metrics',
    'secrets',
    'idempotency',
    'containers',
  ],
  webhooks: [
    ...FOUNDATION,
    'http',
    'signals',
    'auth',
    'tiers',
    'events',
    'audit',
    'metrics',
    'secrets',
    'idempotency',
    'containers',
  ],
  previews: [
    ...FOUNDATION,
    'http',
    'signals',
    'auth',
    'rate-limits',
    'tiers',
    'engine',
    'audit',
    'metrics',
    'idempotency',
    'usage',
    'containers',
    'sandbox',
  ],
  code: [...FOUNDATION, 'http', 'auth', 'engine', 'audit', 'idempotency', 'containers', 'sandbox'],
  mcp: [
    ...FOUNDATION,
    'http',
    'auth',
    'rate-limits',
    'audit',
    'idempotency',
    'containers',
    'sandbox',
    'previews',
    'code',
  ],
  ssh: [
    ...FOUNDATION,
    'http',
    'signals',
    'auth',
    'rate-limits',
    'engine',
    'audit',
    'metrics',
    'secrets',
    'containers',
    'sandbox',
  ],
  e2b: [
    ...FOUNDATION,
    'http',
    'auth',
    'rate-limits',
    'tiers',
    'engine',
    'images',
    'audit',
    'metrics',
    'secrets',
    'idempotency',
    'containers',
    'sandbox',
    'previews',
    'code',
  ],
  admin: [...FOUNDATION, 'http', 'auth', 'tiers', 'images', 'audit', 'containers', 'usage'],
};

/**
 * The folders of large modules, lowest first. A folder imports only folders before it. The module's own files use all
 * folders; they are at `.`, or else above all folders.
 */
export const FOLDERS = {
  engine: ['port', 'programs', 'supervisor'],
  docker: [
    'model',
    'connection',
    'images',
    'firewall',
    'networks',
    'supervisor',
    'host',
    'containers',
    'layers',
    'volumes',
    '.',
    'cluster',
  ],
  sandbox: ['access', 'programs', 'commands', 'files', 'processes', 'start-command', 'terminals', 'stats'],
  containers: [
    'model',
    'dto',
    'leases',
    'policies',
    'rows',
    'capacity',
    'nodes',
    'operations',
    'warm',
    'access',
    'snapshots',
    'creation',
    'roles',
    'expiry',
    'reconcile',
    'moves',
  ],
};

/** Engines are chosen in `engine.module.ts`; everything else knows the port alone. */
const SIMULATOR = { regex: '/packages/simulator/', message: 'use the port: only engine.module.ts knows the engines' };
const ADAPTER = { regex: '/docker(/|$)', message: SIMULATOR.message };
const OUTSIDE_PORT = {
  regex: `/src/([^/]+/|(config|${Object.keys(MODULES)
    .filter((name) => !['engine', 'scheduling'].includes(name))
    .join('|')})$)`,
  message: "an engine knows the port's module alone, by its index.ts",
};

/** How deep folders are nested below a module's own. */
const DEPTHS = [0, 1, 2, 3];

/** By depth: `../images/` is another module at the top of `src/docker`, and a folder of that module one level below. */
function restrictedImports(module) {
  const others = Object.keys(MODULES).filter((name) => name !== module);
  const forbidden = others.filter((name) => !MODULES[module].includes(name));
  const message = 'enter a module by its index.ts';
  const named = FOLDERS[module] ?? [];
  const folders = named.includes('.') ? named : [...named, '.'];
  return DEPTHS.flatMap((depth) => {
    const source = `^${'\\.\\./'.repeat(depth + 1)}`;
    const patterns = [
      { regex: `${source}(${others.filter((name) => name !== 'database').join('|')})/`, message },
      { group: ['**/database/*', '!**/database/column-types'], message },
      SIMULATOR,
    ];
    if (forbidden.length > 0) {
      patterns.push({
        regex: `${source}(${forbidden.join('|')})(/|$)`,
        message: `${module} must not know this module`,
      });
    }
    const restrict = (files, all) => ({ files, rules: { 'no-restricted-imports': ['error', { patterns: all }] } });
    if (depth !== 1) return [restrict([`src/${module}/${'*/'.repeat(depth)}*.ts`], patterns)];
    return [
      restrict([`src/${module}/*/*.ts`], patterns),
      ...folders.slice(0, -1).flatMap((folder, at) => {
        if (folder === '.') return [];
        const higher = folders.slice(at + 1).map((name) => (name === '.' ? '[^/]+$' : `${name}/`));
        const message = `${module}/${folder} is below this: see FOLDERS`;
        const above = { regex: `^\\.\\./(${higher.join('|')})`, message };
        return [restrict([`src/${module}/${folder}/*.ts`], [...patterns, above])];
      }),
    ];
  });
}

/** The strict and stylistic rules for TypeScript that the category `correctness` does not already contain. */
const STRICT = [
  'no-case-declarations',
  'no-fallthrough',
  'no-prototype-builtins',
  'no-empty',
  'no-regex-spaces',
  'no-var',
  'no-console',
  'no-array-constructor',
  'no-useless-assignment',
  'no-useless-constructor',
  'no-empty-function',
  'preserve-caught-error',
  'prefer-const',
  'prefer-rest-params',
  'prefer-spread',
  'typescript/no-deprecated',
  'typescript/no-misused-promises',
  'typescript/no-mixed-enums',
  'typescript/no-unsafe-argument',
  'typescript/no-unsafe-assignment',
  'typescript/no-unsafe-call',
  'typescript/no-unsafe-function-type',
  'typescript/no-unsafe-member-access',
  'typescript/no-unsafe-return',
  'typescript/only-throw-error',
  'typescript/prefer-promise-reject-errors',
  'typescript/related-getter-setter-pairs',
  'typescript/require-await',
  'typescript/prefer-includes',
  'typescript/prefer-nullish-coalescing',
  'typescript/no-dynamic-delete',
  'typescript/no-empty-object-type',
  'typescript/no-explicit-any',
  'typescript/no-invalid-void-type',
  'typescript/no-namespace',
  'typescript/no-non-null-assertion',
  'typescript/no-require-imports',
  'typescript/prefer-literal-enum-member',
  'typescript/use-unknown-in-catch-callback-variable',
  'typescript/non-nullable-type-assertion-style',
  'typescript/no-unnecessary-condition',
  'typescript/prefer-optional-chain',
  'typescript/no-generated-empty-object-type',
  'typescript/no-non-null-asserted-nullish-coalescing',
  'typescript/no-unnecessary-boolean-literal-compare',
  'typescript/no-unnecessary-template-expression',
  'typescript/no-unnecessary-type-arguments',
  'typescript/no-unnecessary-type-assertion',
  'typescript/no-unnecessary-type-constraint',
  'typescript/no-unnecessary-type-conversion',
  'typescript/no-unnecessary-type-parameters',
  'typescript/no-unsafe-enum-assignment',
  'typescript/no-unsafe-enum-comparison',
  'typescript/no-confusing-non-null-assertion',
  'typescript/prefer-reduce-type-parameter',
  'typescript/prefer-return-this-type',
  'typescript/unified-signatures',
  'typescript/adjacent-overload-signatures',
  'typescript/array-type',
  'typescript/class-literal-property-style',
  'typescript/consistent-generic-constructors',
  'typescript/consistent-indexed-object-style',
  'typescript/consistent-type-assertions',
  'typescript/consistent-type-definitions',
  'typescript/no-inferrable-types',
  'typescript/prefer-find',
  'typescript/prefer-for-of',
  'typescript/prefer-function-type',
  'typescript/prefer-regexp-exec',
  'typescript/prefer-string-starts-ends-with',
];

export default defineConfig({
  plugins: ['typescript', 'oxc', 'import'],
  jsPlugins: ['./scripts/lib/lint-rules.mjs'],
  categories: { correctness: 'error' },
  options: { typeAware: true, typeCheck: true, denyWarnings: true, reportUnusedDisableDirectives: 'error' },
  env: { node: true, es2024: true },
  // The last is generated.
  ignorePatterns: [
    'dist',
    'node_modules',
    'coverage',
    '.berth',
    'packages/client/src/api-types.ts',
    'src/e2b/envd/generated',
  ],
  rules: {
    ...Object.fromEntries(STRICT.map((rule) => [rule, 'error'])),
    'typescript/ban-ts-comment': ['error', { minimumDescriptionLength: 10 }],
    'typescript/no-extraneous-class': ['error', { allowWithDecorator: true }],
    'typescript/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
    'typescript/restrict-plus-operands': [
      'error',
      { allowAny: false, allowBoolean: false, allowNullish: false, allowNumberAndString: false, allowRegExp: false },
    ],
    'typescript/restrict-template-expressions': ['error', { allowNumber: true }],
    'typescript/return-await': ['error', 'error-handling-correctness-only'],
    'typescript/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    'import/no-cycle': ['error', { ignoreTypes: false }],
    'berth/own-transaction': 'error',
    'berth/spread-literal': 'error',
    'berth/few-dependencies': 'error',
  },
  overrides: [
    ...Object.keys(MODULES).flatMap(restrictedImports),
    {
      files: ['src/*.ts', 'src/{cli,migrations}/*.ts'],
      rules: { 'no-restricted-imports': ['error', { patterns: [SIMULATOR, ADAPTER] }] },
    },
    { files: ['src/engine.module.ts'], rules: { 'no-restricted-imports': 'off' } },
    {
      files: ['packages/simulator/**/*.ts'],
      rules: { 'no-restricted-imports': ['error', { patterns: [OUTSIDE_PORT] }] },
    },
    { files: ['src/**/*.ts'], rules: { 'berth/own-listener': 'error', 'berth/tagged-sql': 'error' } },
    { files: ['src/{database,migrations}/*.ts'], rules: { 'berth/tagged-sql': 'off' } },
    { files: ['src/http/listeners.ts', 'src/**/*.spec.ts'], rules: { 'berth/own-listener': 'off' } },
    {
      files: ['**/*.mjs', '**/*.js', '**/*.jsx'],
      // Plain JavaScript: without types most values are `any`, and scripts write to the console.
      rules: {
        'no-console': 'off',
        'no-empty-function': 'off',
        'typescript/no-deprecated': 'off',
        'typescript/no-extraneous-class': 'off',
        'typescript/no-require-imports': 'off',
        'typescript/no-unnecessary-condition': 'off',
        'typescript/no-unsafe-argument': 'off',
        'typescript/no-unsafe-assignment': 'off',
        'typescript/no-unsafe-call': 'off',
        'typescript/no-unsafe-member-access': 'off',
        'typescript/no-unsafe-return': 'off',
        'typescript/only-throw-error': 'off',
        'typescript/prefer-includes': 'off',
        'typescript/prefer-nullish-coalescing': 'off',
        'typescript/prefer-promise-reject-errors': 'off',
        'typescript/require-array-sort-compare': 'off',
        'typescript/require-await': 'off',
        'typescript/restrict-plus-operands': 'off',
        'typescript/restrict-template-expressions': 'off',
        'typescript/unbound-method': 'off',
        'typescript/use-unknown-in-catch-callback-variable': 'off',
        'typescript/no-confusing-void-expression': 'off',
        'typescript/prefer-optional-chain': 'off',
        'typescript/prefer-regexp-exec': 'off',
      },
    },
    {
      files: ['test/**/*.ts', 'src/**/*.spec.ts', '{apps,packages}/*/test/**/*.ts'],
      plugins: ['typescript', 'oxc', 'import', 'jest'],
      rules: {
        // `expect.any(String)` is an `any` by its type.
        'typescript/no-unsafe-assignment': 'off',
        'typescript/unbound-method': 'off',
        // HTTP statuses, which all have three digits.
        'typescript/require-array-sort-compare': 'off',
        // Helpers in test/support assert too.
        'jest/no-standalone-expect': 'off',
        'jest/no-commented-out-tests': 'error',
        'jest/no-disabled-tests': 'error',
        'jest/no-focused-tests': 'error',
        'jest/no-export': 'error',
        'jest/no-jasmine-globals': 'error',
        'jest/no-test-prefixes': 'error',
        'jest/no-identical-title': 'error',
        'jest/no-interpolation-in-snapshots': 'error',
        'jest/expect-expect': [
          'error',
          { assertFunctionNames: ['expect', 'expect*', 'assert*', 'survives', 'fc.assert', 'eventually'] },
        ],
      },
    },
  ],
});
