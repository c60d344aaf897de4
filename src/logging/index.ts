export { errorForLog } from './error-for-log';
export { createLogger, LOGGER, type Logger } from './logger';
export { LoggingModule } from './logging.module';
export { NestLogger } from './nest-logger';
export { requestContext, type RequestContext } from './request-context';
