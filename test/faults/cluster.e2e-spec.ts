import { containerFaults } from './container-faults';
import { databaseFaults } from './database-faults';
import { describeRun } from './describe-run';
import { dockerFaults } from './docker-faults';
import { CLUSTER_FAULTS } from './fault-schedule';
import { processFaults } from './process-faults';
import { CLUSTER_RUN } from './setting';

describeRun('operations on several processes under faults', {
  setting: CLUSTER_RUN,
  times: CLUSTER_FAULTS,
  actions: (parts) => ({
    ...processFaults(parts),
    ...dockerFaults(parts),
    ...databaseFaults(parts),
    ...containerFaults(parts),
  }),
});
