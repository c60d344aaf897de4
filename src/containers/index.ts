export { ContainersModule } from './containers.module';
export { ContainersService } from './containers.service';
export type { Caller } from './containers.service';
export { StatusWait } from './status-wait';
