// Runs JavaScript for server.py: a line of JSON with code on descriptor 3, what it writes as lines on descriptor 4.
import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import repl from 'node:repl';
import { PassThrough } from 'node:stream';
import { inspect } from 'node:util';

const tell = (message) => {
  const data = Buffer.from(`${JSON.stringify(message)}\n`);
  for (let at = 0; at < data.length;) at += writeSync(4, data, at);
};

for (const name of ['stdout', 'stderr']) {
  process[name].write = (chunk, encoding, callback) => {
    const text = typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
    tell({ type: 'stream', name, text });
    const done = typeof encoding === 'function' ? encoding : callback;
    if (done) process.nextTick(done);
    return true;
  };
}

const input = new PassThrough();
const shell = repl.start({
  prompt: '',
  input,
  output: new PassThrough().resume(),
  terminal: false,
  useGlobal: true,
});
globalThis.require = createRequire(`${process.cwd()}/cell.js`);

/** Static imports, which only modules have, as dynamic ones. */
function withoutImports(code) {
  const named = (names) => names.replace(/\bas\b/g, ':');
  return code
    .replace(/^[ \t]*import\s+(['"][^'"\n]+['"])/gm, 'await import($1)')
    .replace(/^[ \t]*import\s+\*\s+as\s+(\w+)\s+from\s+(['"][^'"\n]+['"])/gm, 'const $1 = await import($2)')
    .replace(
      /^[ \t]*import\s+(?:(\w+)\s*,?\s*)?(\{[^}]*\})?\s*from\s+(['"][^'"\n]+['"])/gm,
      (_, main, names, from) =>
        `const ${named(`{ ${main ? `default as ${main}, ` : ''}${(names ?? '{}').slice(1, -1)} }`)} = await import(${from})`,
    );
}

const given = { ...process.env };
let set = [];
function setEnvironment(environment) {
  for (const name of set) {
    if (name in given) process.env[name] = given[name];
    else Reflect.deleteProperty(process.env, name);
  }
  Object.assign(process.env, environment);
  set = Object.keys(environment);
}

function showError(error) {
  const isError = error !== null && typeof error === 'object' && 'message' in error;
  const ename = isError ? String(error.name ?? 'Error') : 'Error';
  const traceback = [isError ? String(error.stack ?? error.message) : inspect(error)];
  tell({ type: 'error', ename, evalue: isError ? String(error.message) : inspect(error), traceback });
}

let count = 0;
let finish = () => undefined;
// Ends the run of code that waits; what it waits for is left behind. Code that does not wait gets no signal.
process.on('SIGINT', () => finish(Object.assign(new Error('interrupted'), { name: 'Interrupted' })));
process.on('uncaughtException', (error) => showError(error));
process.on('unhandledRejection', (error) => showError(error));
// The shell hands exceptions of code to its domain, and prints them.
shell._domain.removeAllListeners('error').on('error', (error) => finish(error));

function run({ code, environment }) {
  setEnvironment(environment);
  tell({ type: 'execute_input', execution_count: ++count });
  return new Promise((resolve) => {
    finish = (error, value) => {
      finish = () => undefined;
      if (error) showError(error);
      else if (value !== undefined) tell({ type: 'execute_result', data: bundle(value) });
      resolve();
    };
    shell.eval(`${withoutImports(code)}\n`, shell.context, 'cell', (error, value) =>
      finish(error?.err ?? error, value),
    );
  }).then(() => tell({ type: 'idle' }));
}

/** An object can say how it looks, by MIME types, as in other kernels of JavaScript. */
function bundle(value) {
  const show = value !== null && typeof value === 'object' ? value[Symbol.for('Jupyter.display')] : undefined;
  if (typeof show === 'function') return show.call(value);
  return { 'text/plain': typeof value === 'string' ? value : inspect(value) };
}

let rest = '';
let queue = Promise.resolve();
new Socket({ fd: 3, readable: true, writable: false })
  .setEncoding('utf8')
  .on('data', (text) => {
    const lines = `${rest}${text}`.split('\n');
    rest = lines.pop();
    for (const line of lines) queue = queue.then(() => run(JSON.parse(line)));
  })
  .on('end', () => process.exit(0));
