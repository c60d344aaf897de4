export { ContainersModule } from './containers.module';
export { ContainersService } from './containers.service';
export type { Caller, CreateRequest, ListQuery, Settings } from './containers.service';
export { StatusWait } from './status-wait';
