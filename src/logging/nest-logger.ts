import { LoggerService } from '@nestjs/common';
import { Logger } from './logger';

/** Writes Nest's own log lines, and those of its `Logger` class, to the application's logger. */
export class NestLogger implements LoggerService {
  constructor(private readonly logger: Logger) {}

  // What Nest logs at start (each module, each route) helps to debug it, not to operate it.
  log(message: unknown, ...rest: unknown[]): void {
    const { context } = describe(rest);
    this.write(context !== undefined && NEST_CONTEXTS.has(context) ? 'debug' : 'info', message, rest);
  }

  error(message: unknown, ...rest: unknown[]): void {
    const { context } = describe(rest);
    this.write(context !== undefined && START_CONTEXTS.has(context) ? 'debug' : 'error', message, rest);
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.write('warn', message, rest);
  }

  debug(message: unknown, ...rest: unknown[]): void {
    this.write('debug', message, rest);
  }

  verbose(message: unknown, ...rest: unknown[]): void {
    this.write('trace', message, rest);
  }

  fatal(message: unknown, ...rest: unknown[]): void {
    this.write('fatal', message, rest);
  }

  private write(
    level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal',
    message: unknown,
    rest: unknown[],
  ): void {
    const { context, stack, err } = describe(rest);
    if (message instanceof Error) this.logger[level]({ context, err: message }, message.message);
    else if (typeof message === 'object' && message !== null) this.logger[level]({ context, ...message });
    else this.logger[level]({ context, stack, err }, String(message));
  }
}

const NEST_CONTEXTS: ReadonlySet<string> = new Set([
  'NestFactory',
  'NestApplication',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'WebSocketsController',
]);

/** These contexts report why the start failed; the caller also gets that error as an exception. */
const START_CONTEXTS: ReadonlySet<string> = new Set(['ExceptionHandler', 'TypeOrmModule', 'NestApplication']);

/** Nest passes a stack or an error first where there is one, and the context last. */
function describe(rest: readonly unknown[]): { context?: string; stack?: string; err?: Error } {
  const last = rest.at(-1);
  const err = rest.find((item) => item instanceof Error);
  const stack = rest.length > 1 && typeof rest[0] === 'string' ? rest[0] : undefined;
  return {
    ...(typeof last === 'string' ? { context: last } : {}),
    ...(stack !== undefined ? { stack } : {}),
    ...(err ? { err } : {}),
  };
}
