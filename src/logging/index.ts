export { errorForLog } from './error-for-log';
export { createLogger, LOGGER } from './logger';
export type { Logger } from './logger';
export { LoggingModule } from './logging.module';
export { NestLogger } from './nest-logger';
export { requestContext } from './request-context';
export type { RequestContext } from './request-context';
