export { Capacity, CapacityView } from './capacity/capacity';
export { CapacityHistory, CapacityHistoryView } from './nodes/capacity-history';
export { ContainersAdminService } from './containers-admin.service';
export { ContainersModule } from './containers.module';
export type { Caller } from './access/container-access';
export { type ContainerEntry, insideFault, type RunningContainer } from './access/container-usage';
export { ContainersService } from './containers.service';
export { ApiContainerById } from './dto/openapi';
export {
  AsSent,
  CreateContainerDto,
  DeleteContainerDto,
  EnvironmentProperty,
  faultOfEnvironment,
  Given,
  LabelsProperty,
} from './dto/requests';
export {
  AnyContainerView,
  ContainerDeletedView,
  ContainerMovedView,
  ContainerStartedView,
  ContainerStoppedView,
  ContainerView,
  LISTED_STATUSES,
  type ListedStatus,
} from './dto/responses';
export { faultOfLabels } from './model/labels';
export { Moves } from './moves/moves';
export { NodeListView, NodesAdmin, NodeView } from './nodes/nodes-admin';
export { DeletedContainers } from './rows/deleted-containers';
export { isUp } from './model/container.entity';
export { assertMayStart, type StartCommand } from './model/start-command';
export { type OwnedContainer, RunningContainers, type UpContainer } from './rows/running-containers';
export { type StartCommandRun, StartCommandRuns } from './rows/start-command-runs';
export { SandboxProver } from './sandbox-prover';
export { SweepReport } from './reconcile/reconcile-stats';
export { WarmPool, WarmPoolEmptiedView, WarmPoolView } from './warm/warm-pool';
export { Forks } from './creation/forks';
export { ForkContainerDto } from './dto/snapshots';
export { PutTemplateDto, TemplateDeletedView, TemplateListView, TemplatePutView, TemplateView } from './dto/templates';
export { TemplatesService } from './templates.service';
export { AnySnapshotView, SnapshotDeletedView } from './dto/snapshots';
export { SnapshotRestoration } from './snapshots/snapshot-restoration';
export { SnapshotsService } from './snapshots.service';
export { StatusWait } from './status-wait';
