import { containerFacts, ContainerView } from './container-view';
import type { ContainerRow } from './container.entity';
import type { Started } from './lifecycle/container-lifecycle';

/** What the API answers, word for word as the contract has it. */

export interface Created {
  readonly id: string;
  readonly db_id: string;
  readonly user_id: string;
  readonly name: string;
  readonly image: string;
  readonly role: string | null;
  readonly status: string;
  readonly created_at: string;
  readonly async: true;
  readonly message: string;
  readonly resources: ContainerView['resources'];
}

export interface ContainerList {
  readonly containers: readonly ContainerView[];
  /** Of all the user's live containers, whatever the filters. */
  readonly count: number;
  /** Of the user's tier. */
  readonly limit: number;
  /** Watch from here: every later change is an event with a greater `seq`. */
  readonly event_seq: number;
  readonly next_cursor: string | null;
}

export interface StartAnswer {
  readonly message: string;
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly old_id?: string;
  readonly recreated?: true;
  readonly volume_kept?: boolean;
}

export interface StopAnswer {
  readonly message: string;
  readonly id: string;
  readonly name: string;
  readonly status: string;
}

export interface Deleted {
  readonly message: string;
  readonly id: string;
  readonly db_id: string;
  readonly name: string;
  readonly purge_at: string | null;
}

export interface Updated {
  readonly message: string;
  readonly restarted: boolean;
  readonly container: ReturnType<typeof containerFacts>;
}

export function created(row: ContainerRow): Created {
  const { id, db_id, name, image, role, status, resources } = containerFacts(row);
  return {
    ...{ id, db_id, user_id: row.userId, name, image, role, status, created_at: row.createdAt.toISOString() },
    ...{ async: true, message: 'container is being created', resources },
  };
}

export function started({ row, ...recreation }: Started): StartAnswer {
  const { id, name, status } = containerFacts(row);
  const message = recreation.recreated ? 'container recreated and started' : 'container started';
  return { message, id, name, status, ...recreation };
}

export function stopped(row: ContainerRow): StopAnswer {
  const { id, name, status } = containerFacts(row);
  return { message: 'container stopped', id, name, status };
}

export function deleted(row: ContainerRow): Deleted {
  const { id, db_id, name } = containerFacts(row);
  return { message: 'container deleted', id, db_id, name, purge_at: row.purgeAt?.toISOString() ?? null };
}

export function updated({ row, restarted }: { row: ContainerRow; restarted: boolean }): Updated {
  return { message: 'settings updated', restarted, container: containerFacts(row) };
}
