/**
 * A worker of jest loads packages and Berth itself once, not once for each test file: loading both takes some 2.5 s of
 * processor time, and there are 300 files. Only tests, and what they import of each other, are loaded anew. A file that
 * mocks modules gets its own copy of Berth.
 *
 * Packages, Berth and tests then need the same `Error`, `Date` and `Object`, so that no test gets a realm of its own.
 * What a file leaves behind in the one realm, spies, timers, globals, the environment's variables, the contexts of
 * asynchronous calls, is undone here.
 */
const { ModuleMocker } = require('jest-mock');
const { LegacyFakeTimers, ModernFakeTimers } = require('@jest/fake-timers');
const { default: Runtime } = require('jest-runtime');
const asyncHooks = require('node:async_hooks');
const { dirname, join, relative } = require('node:path');
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

const ROOT = join(__dirname, '..', '..');

/** Whether a file is one of Berth's own modules, and no test. */
const isBerth = (path) =>
  /^(?:src|packages.simulator.src)\b.*(?<!\.spec)\.ts$|^ormconfig\.ts$/.test(relative(ROOT, path));

/** A test that mocks modules, or loads them anew. */
const MOCKS = /\bjest\)?\.(?:mock|doMock|unmock|resetModules|isolateModules)\w*\(/;

/** Of the test file that runs. */
let runtime;
let hasOwnModules = false;

/** The modules that are shared by the files of this worker, by their path; columns have the types of one database. */
const modulesOn = { sqlite: new Map(), postgres: new Map() };
const sharedModules = () => modulesOn[process.env.DATABASE_URL?.startsWith('postgres') ? 'postgres' : 'sqlite'];

// A shared module may import others long after the file that loaded it.
const { requireModule, getSourceMaps } = Runtime.prototype;
Runtime.prototype.requireModule = function (...parameters) {
  runtime = this;
  keepCompiled(this.transformCache.scriptTransformer.constructor.prototype);
  return requireModule.apply(this, parameters);
};

/** What was compiled, by its path. Jest reads it from its cache on the disk again for each test file. */
const compiled = new Map();

function keepCompiled(transformer) {
  if (Object.hasOwn(transformer, 'isKeeping')) return;
  const { transform } = transformer;
  Object.assign(transformer, {
    isKeeping: true,
    transform(path, ...parameters) {
      if (!compiled.has(path)) compiled.set(path, transform.call(this, path, ...parameters));
      return compiled.get(path);
    },
  });
}

/** A file's own source maps, and those of modules that earlier files loaded. */
class SourceMaps extends Map {
  static shared = new Map();

  get(path) {
    return super.get(path) ?? SourceMaps.shared.get(path);
  }

  set(path, map) {
    SourceMaps.shared.set(path, map);
    return super.set(path, map);
  }
}
Runtime.prototype.getSourceMaps = function () {
  const maps = getSourceMaps.call(this);
  for (const [path, map] of maps) SourceMaps.shared.set(path, map);
  return Object.setPrototypeOf(maps, SourceMaps.prototype);
};

const { compileFunction } = vm;
// Jest offers no way to compile anywhere but in a realm that is made for it.
vm.compileFunction = (code, parameters, options) => {
  if (options?.parsingContext !== THE_ONE_REALM) return compileFunction(code, parameters, options);
  const { filename } = options;
  if (PACKAGE.test(filename)) return (module) => void (module.exports = require(filename));
  if (MOCKS.test(code)) hasOwnModules = true;
  const isShared = !hasOwnModules && isBerth(filename);
  const modules = sharedModules();
  const shared = isShared && modules.get(filename);
  if (shared) return (module) => void (module.exports = shared.exports);
  const load = compileFunction(code, parameters, { ...options, parsingContext: undefined });
  if (!isShared) return load;
  return function (module, exports, _requireOfFile, ...others) {
    modules.set(filename, module);
    const requireOfWorker = Object.assign((name) => runtime.requireModuleOrMock(filename, name), _requireOfFile);
    try {
      return load.call(this, module, exports, requireOfWorker, ...others);
    } catch (error) {
      modules.delete(filename);
      throw error;
    }
  };
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

/** Where decorators of modules that are shared have put what TypeORM and class-validator look up. */
const METADATA = new Set(['typeormMetadataArgsStorage', 'classValidatorMetadataStorage']);

/** The globals of a file are those that it found, but for those that cannot be taken away, which are jest's own. */
function restoreGlobals() {
  for (const name of Reflect.ownKeys(globalThis))
    if (!Object.hasOwn(first.globals, name) && !METADATA.has(name)) Reflect.deleteProperty(globalThis, name);
  for (const name of Reflect.ownKeys(first.globals)) Reflect.defineProperty(globalThis, name, first.globals[name]);
  for (const name of Object.keys(process.env))
    if (!(name in first.variables)) Reflect.deleteProperty(process.env, name);
  Object.assign(process.env, first.variables);
}

module.exports = class JestEnvironment {
  global = globalThis;

  constructor({ projectConfig: config }) {
    restoreGlobals();
    hasOwnModules = false;
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
