import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { type Config, ConfigError, loadConfig } from './config';
import { Draining } from './http';
import { createLogger, LOGGER, type Logger } from './logging';
import { explainStartFault } from './start-fault';

const EXIT = { failed: 1, misconfigured: 2 } as const;

/**
 * Time to close beyond SHUTDOWN_GRACE_SECONDS, in milliseconds: for sockets to close, responses to be sent (7 s at
 * most) and the last queries to end (6.5 s at most).
 */
const CLOSING_MARGIN = 15_000;

async function main(): Promise<void> {
  const config = readConfig();
  const logger = createLogger(config);
  process.on('uncaughtException', (error) => {
    logger.fatal({ err: error }, 'an error that nothing caught; the process ends');
    process.exit(EXIT.failed);
  });
  const app = await start(config);
  stopOnSignal({ app, config, logger: app.get<Logger>(LOGGER) });
  const url = await app.getUrl();
  logger.info({ url, pid: process.pid }, 'Berth is listening');
  process.send?.({ type: 'ready', url });
}

function readConfig(): Config {
  try {
    return loadConfig();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return fail(error.message, EXIT.misconfigured);
  }
}

async function start(config: Config): Promise<NestFastifyApplication> {
  try {
    // Imported only now: entities read the environment when they are imported, so it must have been validated.
    const { startApp } = await import('./app.setup.js');
    return await startApp(config);
  } catch (error) {
    const explanation = explainStartFault(error, config);
    return fail(explanation ?? (error instanceof Error ? (error.stack ?? error.message) : String(error)), EXIT.failed);
  }
}

function fail(message: string, code: number): never {
  process.stderr.write(`Berth did not start: ${message}\n`);
  process.exit(code);
}

/** The first signal shuts down gracefully, within a time limit; the second one exits at once. */
function stopOnSignal({ app, config, logger }: { app: NestFastifyApplication; config: Config; logger: Logger }): void {
  let stopping = false;
  const stop = (signal: 'SIGTERM' | 'SIGINT'): void => {
    if (stopping) process.exit(signal === 'SIGINT' ? 130 : 143);
    stopping = true;
    logger.info({ signal }, 'shutting down');
    app.get(Draining).begin();
    setTimeout(
      () => {
        logger.error('closing takes too long; the process ends now');
        process.exit(EXIT.failed);
      },
      config.SHUTDOWN_GRACE_SECONDS * 1000 + CLOSING_MARGIN,
    ).unref();
    app.close().then(
      () => {
        logger.info('shut down');
        process.exit(0);
      },
      (error: unknown) => {
        logger.error({ err: error }, 'closing failed');
        process.exit(EXIT.failed);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // The parent process that started this one is gone, and nothing else would stop it.
  process.on('disconnect', () => stop('SIGTERM'));
}

void main();
