import { navigate, path } from '../router';
import { ask } from '../ui/dialog';
import { say, sayFault } from '../ui/toasts';
import { berth } from './berth';
import type { Container } from './live';

/** What can be done with a container, and is said about it. What changes by it comes as events. */

/** Deletes it, and offers to take that back: its data is kept for a while. */
export async function remove({ db_id, name, status }: Container): Promise<void> {
  try {
    await berth.containers.delete(db_id);
  } catch (error) {
    sayFault(error);
    return;
  }
  if (path.value === `/containers/${db_id}`) navigate('/');
  const undo = async (): Promise<void> => {
    try {
      await berth.containers.restore(db_id);
      if (status === 'running' || status === 'paused') await berth.containers.start(db_id);
    } catch (error) {
      sayFault(error);
    }
  };
  say(`“${name}” was deleted.`, { name: 'Undo', run: () => void undo() });
}

/** Suspends what runs in it. */
export async function pause({ db_id }: Container): Promise<void> {
  await berth.containers.pause(db_id).catch(sayFault);
}

/** Asks first: the container's programs end. */
export function askToStop({ db_id, name }: Container): void {
  ask({
    title: `Stop “${name}”?`,
    text: 'All that runs in it ends. Its data stays, and it can be started again.',
    action: 'Stop',
    run: async () => void (await berth.containers.stop(db_id)),
  });
}

/** Stops it and starts it again. Asks first: the container's programs end. */
export function askToRestart({ db_id, name }: Container): void {
  ask({
    title: `Restart “${name}”?`,
    text: 'All programs in it end, and it is started again. Its data stays.',
    action: 'Restart',
    run: async () => {
      await berth.containers.stop(db_id);
      await berth.containers.start(db_id);
    },
  });
}
