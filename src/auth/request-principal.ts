import type { Principal } from './principal';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the guard; absent on public routes and before authentication. */
    principal?: Principal;
    /** Awaited by the guard once it knows who is calling; what it throws is the answer. */
    onAuthenticated?: (principal: Principal) => Promise<void>;
  }
}
