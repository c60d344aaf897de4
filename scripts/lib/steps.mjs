/**
 * Progress for a person: `→ what` when a step begins, `✓ what (1.2 s)` when it is done.
 * All of it goes to stderr where stdout is the result (the token script).
 */
const TICK_MS = 10_000;
const QUICK_MS = 400;

let out = process.stdout;

/** @param {NodeJS.WritableStream} stream */
export function printStepsTo(stream) {
  out = stream;
}

export function say(line) {
  out.write(`${line}\n`);
}

const seconds = (since) => `${((Date.now() - since) / 1000).toFixed(1)} s`;

/**
 * Runs one step. `work` gets a function that takes the newest line of progress; the step shows it
 * every ten seconds.
 *
 * @template T
 * @param {string} name
 * @param {(progress: (line: string) => void) => Promise<T> | T} work
 * @param {{ detail?: (result: T) => string | undefined, isGood?: (result: T) => boolean }} [options]
 *   detail: added to the last line; isGood: false marks a result with `!`, which the run can live with
 * @returns {Promise<T>}
 */
export async function step(name, work, { detail, isGood = () => true } = {}) {
  const since = Date.now();
  let newest = '';
  // A step that is over at once says one line, not two.
  const announce = setTimeout(() => say(`→ ${name} …`), QUICK_MS);
  const tick = setInterval(() => {
    say(`  … ${seconds(since)}${newest ? `: ${newest.slice(0, 100)}` : ''}`);
  }, TICK_MS);
  try {
    const result = await work((line) => {
      if (line.trim()) newest = line.trim();
    });
    const more = detail?.(result);
    say(`${isGood(result) ? '✓' : '!'} ${name}${more ? `: ${more}` : ''} (${seconds(since)})`);
    return result;
  } finally {
    clearTimeout(announce);
    clearInterval(tick);
  }
}
