export { ContainersAdminService } from './containers-admin.service';
export { ContainersModule } from './containers.module';
export {
  ContainersService,
  type Caller,
  type CreateRequest,
  type ListQuery,
  type Settings,
} from './containers.service';
export { ContainerStoppedView, LISTED_STATUSES, ListedContainerView, type ListedStatus } from './dto/responses';
export { SweepReport } from './reconcile/reconcile-stats';
export { StatusWait } from './status-wait';
