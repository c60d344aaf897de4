import { NestFactory } from '@nestjs/core';
import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { AppModule } from './app.module';
import { guardBeforeBodies } from './auth';
import { CHANNELS } from './channels';
import { Config, CONFIG } from './config';
import { setUpConsole } from './console';
import { SandboxProver } from './containers';
import { passSandboxPorts, takeApiKeys } from './e2b';
import { BerthIoAdapter } from './events';
import { createHttpAdapter, setUpHttp } from './http';
import { createLogger, NestLogger } from './logging';
import { setUpMcp } from './mcp';
import { setUpHttpMetrics } from './metrics';
import { setUpRateLimits } from './rate-limits';
import { setUpTracing } from './tracing';

/**
 * Sets up HTTP, guards, the console and WebSockets of an application made of {@link AppModule}. Call it before
 * `init()` or `listen()`.
 */
export function setUpApp(app: NestFastifyApplication): void {
  setUpHttp(app, CHANNELS, () => {
    takeApiKeys(app);
    setUpHttpMetrics(app);
    setUpRateLimits(app);
    passSandboxPorts(app);
  });
  guardBeforeBodies(app);
  setUpMcp(app);
  setUpConsole(app);
  app.useWebSocketAdapter(new BerthIoAdapter(app, app.get<Config>(CONFIG)));
}

/** Creates an application that is ready to listen: the database is connected and migrated, HTTP is set up. */
async function createApp(config: Config): Promise<NestFastifyApplication> {
  const app = await NestFactory.create<NestFastifyApplication>(AppModule.forRoot(config), createHttpAdapter(config), {
    logger: new NestLogger(createLogger(config)),
    abortOnError: false,
  });
  await setUpTracing(app);
  setUpApp(app);
  return app;
}

/** Starts the server. If listening fails, the application is closed before the error is thrown. */
export async function startApp(config: Config): Promise<NestFastifyApplication> {
  const app = await createApp(config);
  try {
    await app.listen(config.PORT, config.HOST);
    app.get(SandboxProver).begin();
  } catch (error) {
    await app.close().catch(() => undefined);
    throw error;
  }
  return app;
}
