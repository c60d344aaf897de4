export { createLogger, LOGGER, type Logger, requestContext, type RequestContext } from './logger';
export { LoggingModule } from './logging.module';
export { NestLogger } from './nest-logger';
