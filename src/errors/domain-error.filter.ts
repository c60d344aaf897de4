import { ArgumentsHost, Catch, ExceptionFilter, Inject } from '@nestjs/common';
import { FastifyReply, FastifyRequest } from 'fastify';
import { LOGGER } from '../logging';
import type { Logger } from '../logging';
import { databaseFault } from './database-fault';
import { errorAnswer, isServerFault } from './error-answer';

/** The one place that turns what was thrown into an answer: our own faults, the frameworks', and what nobody expected. */
@Catch()
export class DomainErrorFilter implements ExceptionFilter {
  constructor(@Inject(LOGGER) private readonly logger: Logger) {}

  catch(thrown: unknown, host: ArgumentsHost): void {
    if (host.getType() !== 'http') {
      this.logger.error({ err: thrown }, 'a message handler failed');
      return;
    }
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const answer = errorAnswer(thrown, request.id);
    // The database's own state is nobody's fault here, but an operator's to read of.
    if (isServerFault(answer.status) || databaseFault(thrown)) {
      this.logger.error({ err: thrown, code: answer.body.code, request_id: request.id }, 'a request failed');
    }
    if (reply.sent || reply.raw.headersSent) {
      // Half an answer is out already, so a broken connection is the only way left to say that it failed.
      reply.raw.destroy();
      return;
    }
    void reply.status(answer.status).headers(answer.headers).send(answer.body);
  }
}
