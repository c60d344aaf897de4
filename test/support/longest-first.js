const { readFileSync } = require('node:fs');
const { join, relative } = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

const root = join(__dirname, '..', '..');

/** As `scripts/lib/test-durations.mjs` writes them: of earlier runs in this folder, or else the recorded ones. */
const FILES = [join(root, '.berth', 'cache', 'file-seconds.json'), join(__dirname, 'file-seconds.json')];

/** @returns {Record<string, number>} seconds by `project path` */
function knownDurations() {
  for (const file of FILES) {
    try {
      return JSON.parse(readFileSync(file, 'utf8'));
    } catch {
      // There is no earlier run.
    }
  }
  return {};
}

/** The longest files first, so that no long file runs alone at the end. Jest itself does not tell projects apart. */
module.exports = class LongestFirst extends Sequencer {
  sort(tests) {
    const durations = knownDurations();
    const seconds = ({ path, context }) =>
      durations[`${context.config.displayName?.name} ${relative(root, path)}`] ?? 0;
    return super.sort(tests).sort((one, other) => seconds(other) - seconds(one));
  }
};
