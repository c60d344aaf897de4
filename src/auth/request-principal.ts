import type { Principal } from './principal';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the guard; absent on public routes and before authentication. */
    principal?: Principal;
  }
}
