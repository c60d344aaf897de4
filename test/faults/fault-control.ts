import { askForAction } from '../support/faults/control-socket';

/**
 * `restart` ends a service in good order, `kill` kills it; both start it again. `empty` starts Docker again without
 * its data, `refill` with it.
 */
export type Control = `/${'docker' | 'postgres' | 'redis'}/${'restart' | 'kill'}` | `/docker/${'empty' | 'refill'}`;

/**
 * Asks the script that started the services (`scripts/lib/fault-services.mjs`) for an action on one of them. Resolves
 * when the service answers again.
 */
export async function controlService(path: Control): Promise<void> {
  const socketPath = process.env['TEST_FAULTS_CONTROL'];
  if (socketPath === undefined) throw new Error('TEST_FAULTS_CONTROL is not set; `npm run test:faults` sets it');
  await askForAction(socketPath, path);
}
