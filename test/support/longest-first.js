const { basename } = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * Roughly the seconds of the slow ones, so that no long file is left to run alone at the end; from the list that a run
 * prints.
 */
const SECONDS = {
  'role-install.e2e-spec.ts': 50,
  'takeover.e2e-spec.ts': 98,
  'cluster-command.e2e-spec.ts': 40,
  'host-firewall.e2e-spec.ts': 77,
  'docker-exec.e2e-spec.ts': 40,
  'registry.e2e-spec.ts': 73,
  'processes.e2e-spec.ts': 66,
  'interruptions.e2e-spec.ts': 35,
  'lifecycle-create-delete.e2e-spec.ts': 35,
  'lifecycle-start-stop.e2e-spec.ts': 35,
  'lifecycle-update.e2e-spec.ts': 35,
  'lifecycle-outside.e2e-spec.ts': 60,
  'server-process.e2e-spec.ts': 30,
  'role-faults.e2e-spec.ts': 30,
  'random-operations.e2e-spec.ts': 30,
  'docker-volume-copy.e2e-spec.ts': 30,
};

/** The longest files first. Jest itself knows what a file took from earlier runs in the same folder alone. */
module.exports = class LongestFirst extends Sequencer {
  sort(tests) {
    const seconds = ({ path }) => SECONDS[basename(path)] ?? 0;
    return super.sort(tests).sort((one, other) => seconds(other) - seconds(one));
  }
};
