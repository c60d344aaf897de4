import { navigate, path } from '../router';
import { ask } from '../ui/dialog';
import { say, sayFault } from '../ui/toasts';
import { call } from './api';
import type { Container, Resources } from './types';

/** What can be done with a container. Each waits for the answer; what then changes comes as events. */

const verb = (id: string, name: string) => call('POST', `/api/containers/${id}/${name}`);

export const start = ({ db_id }: Pick<Container, 'db_id'>): Promise<unknown> => verb(db_id, 'start');
export const stop = ({ db_id }: Pick<Container, 'db_id'>): Promise<unknown> => verb(db_id, 'stop');

/** Deletes it, and offers to take that back: its data is kept for a while. */
export async function remove({ db_id, name, status }: Container): Promise<void> {
  try {
    await call('DELETE', `/api/containers/${db_id}`);
  } catch (error) {
    sayFault(error);
    return;
  }
  if (path.value === `/containers/${db_id}`) navigate('/');
  const undo = async (): Promise<void> => {
    try {
      await verb(db_id, 'restore');
      if (status === 'running') await verb(db_id, 'start');
    } catch (error) {
      sayFault(error);
    }
  };
  say(`“${name}” was deleted.`, { name: 'Undo', run: () => void undo() });
}

/** Asks first: the container's programs end. */
export function askToStop(container: Container): void {
  ask({
    title: `Stop “${container.name}”?`,
    text: 'All that runs in it ends. Its data stays, and it can be started again.',
    action: 'Stop',
    run: async () => void (await stop(container)),
  });
}

/** What a creation asks for; what is absent is the server's choice. */
export interface NewContainer extends Partial<Resources> {
  readonly name?: string;
  readonly image: string;
  readonly custom_image?: string;
  readonly role?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly network?: Container['network'];
  readonly start?: Container['start'];
  readonly auto_stop_seconds?: number;
  readonly auto_delete_seconds?: number;
}

/** @param key makes it happen once, however often the button is pressed or the connection breaks */
export function create(json: NewContainer, key: string): Promise<{ db_id: string; name: string }> {
  return call('POST', '/api/containers', { json, headers: { 'idempotency-key': key } });
}
