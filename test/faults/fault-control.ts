import { askForAction } from '../support/faults/control-socket';

/**
 * `restart` ends a service in good order, `kill` does not, and starts it again. `empty` starts Docker again without
 * anything that it had, `refill` with all that it had before.
 */
export type Control = `/${'docker' | 'postgres' | 'redis'}/${'restart' | 'kill'}` | `/docker/${'empty' | 'refill'}`;

/**
 * Asks whoever brought the services (`scripts/lib/fault-services.mjs`) to do this to one. Resolves when it is there
 * again.
 */
export async function controlService(path: Control): Promise<void> {
  const socketPath = process.env['TEST_FAULTS_CONTROL'];
  if (socketPath === undefined) throw new Error('TEST_FAULTS_CONTROL is not set; `npm run test:faults` sets it');
  await askForAction(socketPath, path);
}
