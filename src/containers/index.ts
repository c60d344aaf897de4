export { ContainersModule } from './containers.module';
export { ContainersService } from './containers.service';
export type { Caller, CreateRequest, ListQuery, Settings } from './containers.service';
export { ContainerStoppedView } from './dto/container-answers';
export { LISTED_STATUSES, ListedContainerView, type ListedStatus } from './dto/listed-container-view';
export { SweepReport } from './lifecycle/sweep-tally';
export { ContainersOperator } from './operator.service';
export { StatusWait } from './status-wait';
