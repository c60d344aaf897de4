import { askForAction } from '../support/faults/control-socket';
import type { Begin, Parts } from './fault-injector';

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

/** Ends a service, and waits until it answers again. @param around the ending @returns the action */
export function ending(
  service: 'docker' | 'postgres' | 'redis',
  how: 'restart' | 'kill',
  { journal, turns, around = (work) => work() }: Endings,
): (begin: Begin) => Promise<string> {
  const end = async (): Promise<string> => {
    journal.say(`${service}: ${how}`);
    await around(() => controlService(`/${service}/${how}`));
    journal.say(`${service} is back`);
    return service;
  };
  return (begin) => turns.take(service, end, begin);
}

interface Endings extends Pick<Parts, 'journal' | 'turns'> {
  readonly around?: (work: () => Promise<void>) => Promise<void>;
}
