export {
  createLogger,
  LOGGER,
  type Logger,
  markReported,
  requestContext,
  type RequestContext,
  type WorkInside,
} from './logger';
export { LoggingModule } from './logging.module';
export { NestLogger } from './nest-logger';
