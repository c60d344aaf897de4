export { Capacity, CapacityView } from './capacity/capacity';
export { ContainersAdminService } from './containers-admin.service';
export { ContainersModule } from './containers.module';
export type { Caller } from './container-access';
export type { RunningContainer } from './container-usage';
export { ContainersService } from './containers.service';
export { ApiContainerById } from './dto/openapi';
export { DeleteContainerDto, EnvironmentProperty } from './dto/requests';
export {
  AnyContainerView,
  ContainerDeletedView,
  ContainerMovedView,
  ContainerStoppedView,
  LISTED_STATUSES,
  type ListedStatus,
} from './dto/responses';
export { Moves } from './nodes/moves';
export { NodeListView, NodesAdmin, NodeView } from './nodes/nodes-admin';
export type { StartCommand } from './start-command';
export { type StartCommandRun, StartCommandRuns } from './start-command-runs';
export { SandboxProver } from './sandbox-prover';
export { SweepReport } from './reconcile/reconcile-stats';
export { StatusWait } from './status-wait';
