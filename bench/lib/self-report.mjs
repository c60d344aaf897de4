/** Loaded into a measured server (`node --expose-gc --import`): reports what cannot be seen from outside. */
import { createRequire } from 'node:module';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** What it adds to each delay; that of the server's own metric is 10 ms. */
const RESOLUTION_MS = 1;
let delays;
let placements;

const reports = {
  /** What memory is left after a collection of garbage. */
  memory() {
    globalThis.gc();
    return process.memoryUsage();
  },
  /** For how many milliseconds the event loop was blocked at most since this was asked last. */
  blocked() {
    const longest = delays ? delays.max / 1e6 - RESOLUTION_MS : 0;
    delays ??= monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    delays.enable();
    delays.reset();
    return longest;
  },
  /**
   * How many milliseconds each placement took since this was asked last: from when nodes are looked at until one is
   * reserved and the row is there.
   */
  placements() {
    const taken = placements ?? timePlacements();
    placements = [];
    return taken;
  },
};

function timePlacements() {
  const { Capacity } = createRequire(process.argv[1])('./containers/capacity/capacity.js');
  const { within } = Capacity.prototype;
  Capacity.prototype.within = async function timed(...given) {
    const since = performance.now();
    try {
      return await within.apply(this, given);
    } finally {
      placements.push(performance.now() - since);
    }
  };
  return [];
}

process.on('message', (message) => {
  const report = reports[message?.report];
  if (report) process.send({ report: message.report, is: report() });
});
