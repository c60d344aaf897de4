import { BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { LOGGER } from '../../logging';
import { InFlight } from './in-flight';

/** Lets running operations finish before the process ends; what takes too long is finished by whoever claims it next. */
@Injectable()
export class ShutdownDrain implements BeforeApplicationShutdown {
  constructor(
    private readonly inFlight: InFlight,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async beforeApplicationShutdown(): Promise<void> {
    const running = this.inFlight.count;
    if (running === 0) return;
    this.logger.info({ running }, 'waiting for running operations');
    const done = await this.inFlight.drain(this.config.SHUTDOWN_GRACE_SECONDS * 1000);
    if (!done)
      this.logger.warn({ running: this.inFlight.count }, 'operations are cut off; the next start finishes them');
  }
}
