export { Capacity, CapacityView } from './capacity/capacity';
export { ContainersAdminService } from './containers-admin.service';
export { ContainersModule } from './containers.module';
export type { Caller } from './container-access';
export type { RunningContainer } from './container-usage';
export { ContainersService } from './containers.service';
export { ApiContainerById } from './dto/openapi';
export { DeleteContainerDto, EnvironmentProperty } from './dto/requests';
export {
  ContainerDeletedView,
  ContainerStoppedView,
  LISTED_STATUSES,
  ListedContainerView,
  type ListedStatus,
} from './dto/responses';
export { SandboxProver } from './sandbox-prover';
export { SweepReport } from './reconcile/reconcile-stats';
