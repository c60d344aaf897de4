import { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { errorAnswer } from '../errors';
import { API_HEADERS } from './security-headers';

/** Answers what Fastify's router refuses before any hook runs, such as a URL that cannot be decoded. */
export function answerFrameworkError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const { status, headers, body } = errorAnswer(error, request.id);
  void reply
    .status(status)
    .headers({ 'x-request-id': request.id, ...API_HEADERS, ...headers })
    .send(body);
}
