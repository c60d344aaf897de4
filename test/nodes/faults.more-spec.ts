import { containerFaults } from '../faults/container-faults';
import { databaseFaults } from '../faults/database-faults';
import { describeRun } from '../faults/describe-run';
import { NODES_FAULTS } from '../faults/fault-schedule';
import { nodeFaults } from '../faults/node-faults';
import { processFaults } from '../faults/process-faults';
import { NODES_RUN } from '../faults/setting';
import { TestNodes } from '../support/docker/test-nodes';

const nodes = new TestNodes();

describeRun('operations on several nodes under faults', {
  setting: NODES_RUN,
  times: NODES_FAULTS,
  nodes,
  actions: (parts) => ({
    ...processFaults(parts),
    ...databaseFaults(parts),
    ...containerFaults(parts),
    ...nodeFaults(parts, nodes),
  }),
});
