const { basename } = require('node:path');
const { default: Sequencer } = require('@jest/test-sequencer');

/**
 * Roughly the seconds of the slow ones, so that no long file is left to run alone at the end; from the list that a run
 * prints.
 */
const SECONDS = {
  'docker-faults.more-spec.ts': 500,
  'warm-crash.more-spec.ts': 250,
  'watch.more-spec.ts': 200,
  'inside-docker-restart.more-spec.ts': 170,
  'snapshot-crash.more-spec.ts': 250,
  'crash.more-spec.ts': 160,
  'package.more-spec.ts': 150,
  'inside-files.more-spec.ts': 130,
  'attacks.more-spec.ts': 105,
  'snapshot-faults.more-spec.ts': 110,
  'killed-operations.more-spec.ts': 100,
  'role-faults.more-spec.ts': 100,
  'cluster-nodes.more-spec.ts': 90,
  'inside-faults.more-spec.ts': 80,
  'stuck-locks.more-spec.ts': 75,
  'console.more-spec.ts': 75,
  'registry.e2e-spec.ts': 65,
  'snapshots-nodes.e2e-spec.ts': 60,
  'takeover.e2e-spec.ts': 60,
  'snapshots.e2e-spec.ts': 50,
  'host-firewall.e2e-spec.ts': 50,
  'inside-hostile.e2e-spec.ts': 50,
  'inside-files.e2e-spec.ts': 48,
  'inside-hung.e2e-spec.ts': 47,
  'sick-nodes.e2e-spec.ts': 44,
  'docker-ahead.e2e-spec.ts': 42,
  'processes.e2e-spec.ts': 40,
  'server-process.e2e-spec.ts': 38,
  'inside-streamed-commands.e2e-spec.ts': 34,
  'snapshot-copies.e2e-spec.ts': 35,
  'templates.e2e-spec.ts': 35,
  'docker-exec.e2e-spec.ts': 33,
  'rate-limits.e2e-spec.ts': 31,
  'inside-processes.e2e-spec.ts': 30,
  'allow-lists.e2e-spec.ts': 29,
  'inside-commands.e2e-spec.ts': 29,
  'inside-terminals.e2e-spec.ts': 29,
  'docker-volume-copy.e2e-spec.ts': 27,
  'nodes.e2e-spec.ts': 26,
  'docker-isolation.e2e-spec.ts': 25,
  'docker-process.e2e-spec.ts': 25,
  'inside-many.e2e-spec.ts': 24,
  'docker-supervisor.e2e-spec.ts': 23,
  'interruptions.e2e-spec.ts': 22,
  'sandbox-proof.e2e-spec.ts': 22,
  'lifecycle-outside.e2e-spec.ts': 21,
  'failed-rollbacks.e2e-spec.ts': 20,
  'simulated-engine.e2e-spec.ts': 20,
  'lifecycle-update.e2e-spec.ts': 19,
  'limits.e2e-spec.ts': 19,
  'program-registry.e2e-spec.ts': 18,
  'sandbox-networks.e2e-spec.ts': 18,
  'socket-events.e2e-spec.ts': 18,
};

/** The longest files first. Jest itself knows what a file took from earlier runs in the same folder alone. */
module.exports = class LongestFirst extends Sequencer {
  sort(tests) {
    const seconds = ({ path }) => SECONDS[basename(path)] ?? 0;
    return super.sort(tests).sort((one, other) => seconds(other) - seconds(one));
  }
};
