const { basename } = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * Roughly the seconds of the slow ones, so that no long file is left to run alone at the end; from the list that a run
 * prints.
 */
const SECONDS = {
  'takeover.e2e-spec.ts': 70,
  'registry.e2e-spec.ts': 65,
  'processes.e2e-spec.ts': 60,
  'host-firewall.e2e-spec.ts': 60,
  'docker-exec.e2e-spec.ts': 45,
  'lifecycle-outside.e2e-spec.ts': 45,
  'inside-files.e2e-spec.ts': 40,
  'rate-limits.e2e-spec.ts': 40,
  'lifecycle-update.e2e-spec.ts': 40,
  'server-process.e2e-spec.ts': 40,
  'allow-lists.e2e-spec.ts': 40,
  'role-install.e2e-spec.ts': 35,
  'role-faults.more-spec.ts': 35,
  'stuck-locks.more-spec.ts': 35,
  'inside-processes.e2e-spec.ts': 35,
  'cluster-command.e2e-spec.ts': 30,
  'lifecycle-create-delete.e2e-spec.ts': 30,
  'docker-volume-copy.e2e-spec.ts': 30,
  'console-life.e2e-spec.ts': 25,
  'interruptions.e2e-spec.ts': 30,
  'random-operations.e2e-spec.ts': 25,
};

/** The longest files first. Jest itself knows what a file took from earlier runs in the same folder alone. */
module.exports = class LongestFirst extends Sequencer {
  sort(tests) {
    const seconds = ({ path }) => SECONDS[basename(path)] ?? 0;
    return super.sort(tests).sort((one, other) => seconds(other) - seconds(one));
  }
};
