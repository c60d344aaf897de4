/**
 * Packages are loaded once by a worker of jest, not once by each test file: of the two seconds of processor time that
 * loading Berth takes, nine tenths are theirs (2,200 modules). `src` and `test` are loaded anew for each file, as ever.
 *
 * Packages and tests then need the same `Error`, `Date` and `Object`, so that no test gets a realm of its own. What a
 * file leaves behind in the one realm, spies, timers, globals, the environment's variables, the contexts of
 * asynchronous calls, is undone here.
 */
const { ModuleMocker } = require('jest-mock');
const { LegacyFakeTimers, ModernFakeTimers } = require('@jest/fake-timers');
const asyncHooks = require('node:async_hooks');
const { dirname, join } = require('node:path');
const vm = require('node:vm');

/**
 * Node.js 22 and later keep the compiled code of programs that tests start, such as servers, below the run's temporary
 * folder: of the 1.6 s of processor time that the start of a server takes to load, 0.3 s. Earlier versions ignore it.
 */
const report = process.env.TEST_REPORT;
if (report) process.env.NODE_COMPILE_CACHE ??= join(dirname(report), 'compile-cache');

/** What jest takes for the realm of a test file. */
const THE_ONE_REALM = vm.createContext({});

/** A package, other than those of jest: they hold the state of one test file. */
const PACKAGE = /\/node_modules\/(?!@?jest|expect\b|pretty-format\b)/;

const { compileFunction } = vm;
// Jest offers no way to compile anywhere but in a realm that is made for it.
vm.compileFunction = (code, parameters, options) => {
  if (options?.parsingContext !== THE_ONE_REALM) return compileFunction(code, parameters, options);
  if (PACKAGE.test(options.filename)) return (module) => void (module.exports = require(options.filename));
  return compileFunction(code, parameters, { ...options, parsingContext: undefined });
};

/** Of the test file that runs: on Node.js 20 and 22 each that was used makes every promise of the process slower. */
const localStorages = new Set();
const LocalStorage = class AsyncLocalStorage extends asyncHooks.AsyncLocalStorage {
  constructor(...options) {
    super(...options);
    localStorages.add(this);
  }
};
// Where it is a getter it cannot be assigned.
Object.defineProperty(asyncHooks, 'AsyncLocalStorage', {
  enumerable: true,
  configurable: true,
  writable: true,
  value: LocalStorage,
});

const first = {
  globals: Object.getOwnPropertyDescriptors(globalThis),
  variables: { ...process.env },
  exit: process.exit,
};

/** The globals of a file are those that it found, but for those that cannot be taken away, which are jest's own. */
function restoreGlobals() {
  for (const name of Reflect.ownKeys(globalThis))
    if (!Object.hasOwn(first.globals, name)) Reflect.deleteProperty(globalThis, name);
  for (const name of Reflect.ownKeys(first.globals)) Reflect.defineProperty(globalThis, name, first.globals[name]);
  for (const name of Object.keys(process.env))
    if (!(name in first.variables)) Reflect.deleteProperty(process.env, name);
  Object.assign(process.env, first.variables);
}

module.exports = class JestEnvironment {
  global = globalThis;

  constructor({ projectConfig: config }) {
    restoreGlobals();
    // As jest's own environment: ten lines of a stack seldom reach the test.
    Error.stackTraceLimit = 100;
    this.moduleMocker = new ModuleMocker(globalThis);
    const timerConfig = { idToRef: (id) => id, refToId: (timer) => timer };
    const shared = { config, global: globalThis };
    this.fakeTimers = new LegacyFakeTimers({ ...shared, moduleMocker: this.moduleMocker, timerConfig });
    this.fakeTimersModern = new ModernFakeTimers(shared);
  }

  async setup() {}

  async teardown() {
    this.moduleMocker.restoreAllMocks();
    this.fakeTimers.dispose();
    this.fakeTimersModern.dispose();
    for (const storage of localStorages) storage.disable();
    localStorages.clear();
    // Jest puts its own in the place of this one, and would put the next one over it.
    process.exit = first.exit;
  }

  exportConditions() {
    return ['node', 'node-addons'];
  }

  getVmContext() {
    return THE_ONE_REALM;
  }
};
