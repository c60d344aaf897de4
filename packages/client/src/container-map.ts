import type * as api from './api-types.ts';
import type { BerthEvent } from './events.ts';

/** Progress of a creation, a role's installation or a move of data. */
export interface Progress {
  readonly stage: string;
  readonly message: string;
  /** Percent of the whole. */
  readonly percent: number;
}

type Details = Omit<api.ListedContainerView, keyof api.ContainerFactsView>;

/**
 * A watched container. Fields that events have (name, status, resources, …) are always current. The others are read
 * after each event: they are missing for a moment after a creation, and fields that change without an event
 * (`idle_seconds`, `last_used_at`) are as of the last read.
 */
export type WatchedContainer = api.ContainerFactsView & Partial<Details> & { readonly progress: Progress | null };

/** An online agent; fields that change without an event (`load`, memory) are as of the last read. */
export type WatchedAgent = api.AgentFactsView & Partial<Omit<api.AgentView, keyof api.AgentFactsView>>;

/** A list of all containers, and the last event that it includes. */
export interface WholeList {
  readonly entries: readonly (api.ListedContainerView | api.AgentView)[];
  readonly seq: number;
}

/** The state that results from a list and the events after it. Objects in it are replaced, never changed. */
export class ContainerMap {
  /** The last event that the map includes. */
  seq = 0;
  private entries = new Map<string, WatchedContainer>();
  private agentsById = new Map<string, WatchedAgent>();
  /** The last event of each container since the list, so that an older read does not overwrite newer data. */
  private readonly changes = new Map<string, number>();
  private lists = 0;
  private view: ReadonlyMap<string, WatchedContainer> | null = null;
  private agentsView: ReadonlyMap<string, WatchedAgent> | null = null;

  /** By `db_id`, newest first. The object stays the same until something changes. */
  get containers(): ReadonlyMap<string, WatchedContainer> {
    this.view ??= new Map([...this.entries].sort(([, one], [, other]) => newestFirst(one, other)));
    return this.view;
  }

  get agents(): ReadonlyMap<string, WatchedAgent> {
    this.agentsView ??= new Map(this.agentsById);
    return this.agentsView;
  }

  /** Replaces all entries with a list. Progress, which lists lack, is kept for the containers that are still there. */
  replace({ entries, seq }: WholeList): void {
    const before = this.entries;
    this.entries = new Map();
    this.agentsById = new Map();
    for (const each of entries) {
      if ('db_id' in each) this.entries.set(each.db_id, watched(each, before.get(each.db_id)));
      else this.agentsById.set(each.id, each);
    }
    this.changes.clear();
    this.lists += 1;
    this.seq = seq;
    this.changed();
  }

  /** @returns the container whose details have to be read again, if any */
  apply(event: BerthEvent): string | null {
    this.seq = event.seq;
    if (event.type === 'agent_connected' || event.type === 'agent_disconnected') {
      this.applyToAgent(event);
      return null;
    }
    if (!('db_id' in event.data)) return null;
    const { db_id: id } = event.data;
    this.changes.set(id, event.seq);
    this.changed();
    if (event.type === 'container_deleted') {
      this.entries.delete(id);
      this.changes.delete(id);
      return null;
    }
    const before = this.entries.get(id);
    const progress = progressOf(event, before);
    this.entries.set(id, { created_at: event.timestamp, ...before, ...factsOf(event.data), progress });
    return isNews(event, before) ? id : null;
  }

  /** A token for the current state of a container; pass it to `readDetails()`. */
  lastChange(id: string): string {
    return `${String(this.lists)}:${String(this.changes.get(id))}`;
  }

  /**
   * Adds the fields that events lack, as read from the server.
   *
   * @param readAfter `lastChange()` before the read
   * @returns false if the container changed in the meantime, so that it has to be read again
   */
  readDetails(view: api.ContainerView, readAfter: string): boolean {
    const entry = this.entries.get(view.db_id);
    if (!entry) return true;
    if (this.lastChange(view.db_id) !== readAfter) return false;
    this.entries.set(view.db_id, { ...view, ...factsOf(entry), progress: entry.progress });
    this.changed();
    return true;
  }

  private applyToAgent({ type, data }: api.AgentConnectedEvent | api.AgentDisconnectedEvent): void {
    if (type === 'agent_connected') this.agentsById.set(data.id, { ...this.agentsById.get(data.id), ...data });
    else this.agentsById.delete(data.id);
    this.agentsView = null;
  }

  private changed(): void {
    this.view = null;
    this.agentsView = null;
  }
}

function watched(listed: api.ListedContainerView, before: WatchedContainer | undefined): WatchedContainer {
  // This list has no deleted containers.
  const status = listed.status as api.ContainerStatus;
  return { ...listed, status, progress: before?.progress ?? null };
}

/** The container's fields of an event, without the event's own. */
function factsOf(data: api.ContainerFactsView): api.ContainerFactsView {
  const { id, db_id, name, status, image, role, labels, resources, network } = data;
  return { id, db_id, name, status, image, role, labels, resources, network };
}

function progressOf(event: BerthEvent, before: WatchedContainer | undefined): Progress | null {
  if (event.type === 'container_expiring') return before?.progress ?? null;
  if (event.type !== 'container_progress' || event.data.progress >= 100) return null;
  const { stage, message, progress } = event.data;
  return { stage, message, percent: progress };
}

/** Progress changes no other field, except when a stage begins or ends. */
function isNews(event: BerthEvent, before: WatchedContainer | undefined): boolean {
  if (event.type !== 'container_progress') return true;
  return event.data.progress >= 100 || before?.progress?.stage !== event.data.stage;
}

function newestFirst(one: WatchedContainer, other: WatchedContainer): number {
  const [a, b] = [one.created_at ?? '', other.created_at ?? ''];
  if (a !== b) return a < b ? 1 : -1;
  return one.db_id < other.db_id ? 1 : -1;
}
