import { signal } from '@preact/signals';
import { navigate, path } from '../router';
import { ask } from './dialog';
import { say, sayFault } from './toasts';
import { commonWords } from '../words/common';
import { inWords } from '../words/errors';
import { verbWords } from '../words/verbs';
import { berth } from '../data/berth';
import type { Container } from '../data/live';

/** What can be done with a container, and is said about it. What changes by it comes as events. */

/** The containers with which something is being done that was chosen in a menu. */
const pending = signal<ReadonlySet<string>>(new Set());

/** Whether something is being done with a container: until it is done, its menus begin nothing else. */
export const isPending = (id: string): boolean => pending.value.has(id);

/** Does it unless something is being done with the container already, and says what went wrong. */
async function once(id: string, run: () => Promise<unknown>): Promise<void> {
  if (pending.peek().has(id)) return;
  pending.value = new Set([...pending.peek(), id]);
  try {
    await run();
  } catch (error) {
    sayFault(error);
  } finally {
    pending.value = new Set([...pending.peek()].filter((each) => each !== id));
  }
}

/** Deletes it, and offers to take that back: its data is kept for a while. */
export function remove({ db_id, name, status }: Container): Promise<void> {
  return once(db_id, async () => {
    await berth.containers.delete(db_id);
    if (path.value === `/containers/${db_id}`) navigate('/');
    const undo = (): void => void bringBack({ db_id, status }).catch(sayFault);
    say(verbWords.deleted(name), { name: commonWords.undo, run: undo });
  });
}

/** Restores a deleted container, and starts it if it was up. @throws BerthError */
export async function bringBack({ db_id, status }: Pick<Container, 'db_id' | 'status'>): Promise<void> {
  await berth.containers.restore(db_id);
  if (isUp(status)) await berth.containers.start(db_id);
}

/** The containers that are being restarted here: in between they are stopped, and start by themselves. */
const restarting = signal<ReadonlySet<string>>(new Set());

export const isRestarting = (id: string): boolean => restarting.value.has(id);

/** Stops a container and starts it again: the API has no call for both. @throws BerthError */
export async function restart({ db_id }: Pick<Container, 'db_id'>): Promise<void> {
  restarting.value = new Set([...restarting.peek(), db_id]);
  try {
    await berth.containers.stop(db_id);
    await berth.containers.start(db_id).catch((error: unknown) => {
      throw new Error(verbWords.restart.startFailed(inWords(error)));
    });
  } finally {
    restarting.value = new Set([...restarting.peek()].filter((each) => each !== db_id));
  }
}

/** Whether it has a Docker container with processes, also if they are suspended. */
export const isUp = (status: Container['status']): boolean => status === 'running' || status === 'paused';

/** Starts it, or goes on with what was suspended in it. */
export const start = ({ db_id, status }: Container): Promise<void> =>
  once(db_id, () => (status === 'paused' ? berth.containers.resume(db_id) : berth.containers.start(db_id)));

/** Suspends what runs in it. */
export const pause = ({ db_id }: Container): Promise<void> => once(db_id, () => berth.containers.pause(db_id));

/** Asks first: the container's programs end. */
export function askToStop({ db_id, name }: Container): void {
  ask({
    title: verbWords.stop.title(name),
    text: verbWords.stop.text,
    action: commonWords.stop,
    run: async () => void (await berth.containers.stop(db_id)),
  });
}

/** Stops it and starts it again. Asks first: the container's programs end. The page shows the rest. */
export function askToRestart(container: Container): void {
  ask({
    title: verbWords.restart.title(container.name),
    text: verbWords.restart.text,
    action: commonWords.restart,
    run: () => void once(container.db_id, () => restart(container)),
  });
}
