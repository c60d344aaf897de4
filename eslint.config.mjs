import eslint from '@eslint/js';
import prettier from 'eslint-config-prettier';
import jest from 'eslint-plugin-jest';
import tseslint from 'typescript-eslint';

/**
 * Which modules of `src/` a module may import; everything else is refused, so imports point one way and there is no cycle.
 * Other modules are entered by their `index.ts` alone.
 */
const FOUNDATION = ['clock', 'config', 'duration', 'database', 'errors', 'logging'];
const MODULES = {
  database: ['config'],
  errors: ['logging'],
  logging: ['config'],
  signals: ['config', 'logging'],
  docker: ['config', 'duration', 'logging'],
  tiers: FOUNDATION,
  auth: [...FOUNDATION, 'signals', 'tiers'],
  images: [...FOUNDATION, 'auth', 'docker'],
  'rate-limits': [...FOUNDATION, 'http', 'signals', 'auth'],
  events: [...FOUNDATION, 'http', 'signals', 'auth', 'rate-limits'],
  http: ['config', 'errors', 'logging'],
  agents: [...FOUNDATION, 'http', 'signals', 'auth', 'tiers', 'rate-limits', 'events', 'metrics'],
  roles: [...FOUNDATION, 'auth'],
  audit: [...FOUNDATION, 'http', 'auth', 'events'],
  metrics: [...FOUNDATION, 'auth', 'docker', 'events'],
  health: [...FOUNDATION, 'http', 'auth', 'docker', 'signals'],
  containers: [
    ...[...FOUNDATION, 'http', 'signals', 'auth', 'tiers', 'docker', 'images', 'events'],
    ...['agents', 'roles', 'audit', 'metrics'],
  ],
  admin: [...FOUNDATION, 'http', 'auth', 'tiers', 'audit', 'containers'],
};

const forbidden = (module, allowed) => {
  const others = Object.keys(MODULES).filter((name) => name !== module && !allowed.includes(name));
  return {
    files: [`src/${module}/**/*.ts`],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            ...(others.length > 0
              ? [{ regex: `^(\\.\\./)+(${others.join('|')})(/|$)`, message: `${module} must not know this module` }]
              : []),
            {
              regex: `^(\\.\\./)+(${Object.keys(MODULES)
                .filter((name) => name !== module)
                .join('|')})/(?!column-types$)`,
              message: 'enter a module by its index.ts',
            },
          ],
        },
      ],
    },
  };
};

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'coverage', '.berth'] },
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked, ...tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': 'off',
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/dot-notation': 'off',
      // Classes of DTOs and views describe JSON; what fits the shape is one.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      'no-console': 'error',
      'no-restricted-syntax': [
        'error',
        {
          selector:
            "CallExpression[callee.property.name=/^(save|softRemove|recover)$/][callee.object.property.name='manager']",
          message:
            'opens a transaction of its own, which interleaves on SQLite: use insert(), update() or a query builder',
        },
        {
          selector:
            "CallExpression[callee.property.name='transaction'][callee.object.property.name=/^(manager|dataSource)$/]",
          message: 'use Database.runInTx(): a direct transaction loses rows on SQLite',
        },
        {
          selector:
            'CallExpression[callee.property.name=/^(save|remove|softRemove)$/][callee.object.property.name=/[rR]epository$/]',
          message:
            'opens a transaction of its own, which interleaves on SQLite: use insert(), update() or a query builder',
        },
      ],
    },
  },
  ...Object.entries(MODULES).map(([module, allowed]) => forbidden(module, allowed)),
  {
    files: ['test/**/*.ts', 'src/**/*.spec.ts'],
    ...jest.configs['flat/recommended'],
    rules: {
      ...jest.configs['flat/recommended'].rules,
      // `expect.any(String)` is an `any` by its type.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/unbound-method': 'off',
      // Helpers in test/support assert too.
      'jest/no-standalone-expect': 'off',
      'jest/expect-expect': [
        'error',
        { assertFunctionNames: ['expect', 'expect*', 'assert*', 'survives', 'fc.assert', 'eventually'] },
      ],
    },
  },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        module: 'writable',
        require: 'readonly',
        Buffer: 'readonly',
        URL: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
        setInterval: 'readonly',
        clearInterval: 'readonly',
        AbortSignal: 'readonly',
        AbortController: 'readonly',
        fetch: 'readonly',
        performance: 'readonly',
        structuredClone: 'readonly',
      },
    },
  },
  prettier,
);
