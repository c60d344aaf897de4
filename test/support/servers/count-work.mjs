/**
 * Loaded into a server (`node --expose-gc --import`): counts what it does between two messages of its parent. Times on
 * a shared machine are noise; these numbers are the same in each run.
 */
import { createHook } from 'node:async_hooks';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const counts = { promises: 0, immediates: 0, timers: 0, statements: 0 };
const KINDS = { PROMISE: 'promises', Immediate: 'immediates', Timeout: 'timers' };
const hook = createHook({
  init(_id, type) {
    const kind = KINDS[type];
    if (kind) counts[kind] += 1;
  },
});

const Database = createRequire(join(process.cwd(), 'package.json'))('better-sqlite3');
const Statement = Object.getPrototypeOf(new Database(':memory:').prepare('SELECT 1'));
for (const method of ['run', 'get', 'all', 'iterate']) {
  const original = Statement[method];
  Statement[method] = function counted(...given) {
    counts.statements += 1;
    return original.apply(this, given);
  };
}

let heap = 0;

process.on('message', ({ count }) => {
  if (count === 'begin' || count === 'begin bytes') {
    for (const kind of Object.keys(counts)) counts[kind] = 0;
    globalThis.gc();
    heap = process.memoryUsage().heapUsed;
    // What counts promises allocates too.
    if (count === 'begin') hook.enable();
  } else if (count === 'end') {
    const bytes = process.memoryUsage().heapUsed - heap;
    hook.disable();
    process.send({ counted: { ...counts, bytes } });
  }
});
