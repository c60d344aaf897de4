import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER } from '../../logging';
import { ContainerRepository } from '../container.repository';
import type { Claim } from './claim';
import { ProgressReporter } from './progress';

/** Makes the reporters of operations, whose telling never fails an operation. */
@Injectable()
export class ProgressReports {
  constructor(
    private readonly repository: ContainerRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  of({ row }: Claim): ProgressReporter {
    return new ProgressReporter(row, (drafts) =>
      this.repository.tell(row, drafts).catch((error: unknown) => {
        this.logger.warn({ err: error, container_id: row.id }, 'progress could not be told');
      }),
    );
  }
}
