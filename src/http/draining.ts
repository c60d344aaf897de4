import { Injectable, OnModuleDestroy } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';

/**
 * How long requests may still take when operations are done and the HTTP server closes, in milliseconds: longer than the
 * database may take to answer, so that whoever waits for it is told.
 */
const LAST_ANSWERS_MS = 7_000;

/** Whether this process is about to end: it finishes what it has begun and takes nothing new. */
@Injectable()
export class Draining implements OnModuleDestroy {
  private draining = false;

  get begun(): boolean {
    return this.draining;
  }

  begin(): void {
    this.draining = true;
  }

  /** The first thing that happens when the application is closed. */
  onModuleDestroy(): void {
    this.begin();
  }
}

/** Lets go of the HTTP server's connections when the process ends; Node.js closes only those without a request by itself. */
export function endConnections(fastify: FastifyInstance, draining: Draining): void {
  // A connection that a client keeps for its next request would keep the server open until its idle timeout, 72 s.
  fastify.addHook('onSend', (_request, reply, _payload, done) => {
    if (draining.begun) reply.header('connection', 'close');
    done();
  });
  // And so would a client that sends half a request, or none, or does not read its answer.
  fastify.addHook('preClose', (done) => {
    const { server } = fastify;
    const timer = setTimeout(() => server.closeAllConnections(), LAST_ANSWERS_MS).unref();
    server.once('close', () => clearTimeout(timer));
    done();
  });
}
