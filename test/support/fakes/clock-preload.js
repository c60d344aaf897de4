/**
 * Loaded into a process before all else (`NODE_OPTIONS=--require`): its clock is off by the milliseconds that stand in
 * the file `TEST_CLOCK_FILE`, which moving-clock.ts writes. Timers go on as before, as a machine's do when its clock is
 * set.
 */
const { readFileSync } = require('node:fs');

const LOOK_EVERY_MS = 20;

const file = process.env['TEST_CLOCK_FILE'];
const RealDate = Date;
const realNow = RealDate.now.bind(RealDate);
let offsetMs = 0;

function look() {
  offsetMs = Number(readFileSync(file, 'utf8'));
}

if (file !== undefined) {
  look();
  setInterval(look, LOOK_EVERY_MS).unref();
  RealDate.now = () => realNow() + offsetMs;
  globalThis.Date = new Proxy(RealDate, {
    apply: () => new RealDate(RealDate.now()).toString(),
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [RealDate.now()] : args, newTarget),
  });
}
