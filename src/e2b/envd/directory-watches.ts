import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect';
import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { type ConnectionGroup, dependsOn, OpenConnections } from '../../auth';
import { insideFault } from '../../containers';
import type { FileChange } from '../../engine';
import { DomainError } from '../../errors';
import { type ContainerPath, FilesService } from '../../sandbox';
import type { EnvdCall } from './envd-call';
import type { EntryReader } from './filesystem-service';
import { EventType, type FilesystemEventSchema, type WatchDirResponseSchema } from './generated/filesystem_pb';
import { keepAliveOf, withPauses } from './keep-alive';

type Event = MessageInitShape<typeof FilesystemEventSchema>;

/** A directory to watch. */
interface Watch {
  readonly call: EnvdCall;
  readonly path: ContainerPath;
  readonly recursive: boolean;
  /** null: the events have no entries. */
  readonly entryOf: EntryReader | null;
}

/** A watcher that a client asks from time to time. */
interface Watcher {
  readonly containerId: string;
  readonly end: AbortController;
  events: Event[];
  /** Why it has ended; null while it watches. */
  fault: unknown;
  idle: NodeJS.Timeout;
}

/** Events that wait for a client which asks for them; further ones end the watcher. */
const MOST_EVENTS = 1_000;

/** A watcher that is not asked for so long is removed. */
const IDLE_MS = 10 * 60_000;

/** Watchers of one container in this process; the sandbox bounds its watches too. */
const MOST_WATCHERS = 16;

const TYPES: Readonly<Record<Exclude<FileChange['type'], 'overflow'>, EventType>> = {
  create: EventType.CREATE,
  write: EventType.WRITE,
  remove: EventType.REMOVE,
  rename: EventType.RENAME,
  chmod: EventType.CHMOD,
};

/** Watches of directories: as streams, and as watchers of this server process that clients ask for their events. */
@Injectable()
export class DirectoryWatches implements OnModuleDestroy {
  private readonly watchers = new Map<string, Watcher>();
  private readonly open: ConnectionGroup;

  constructor(
    private readonly files: FilesService,
    connections: OpenConnections,
  ) {
    this.open = connections.group();
  }

  onModuleDestroy(): void {
    this.open.close();
    for (const id of this.watchers.keys()) this.end(id);
  }

  /** @throws DomainError; ConnectError `data_loss` if changes were lost */
  async *stream(
    watch: Watch,
    context: HandlerContext,
  ): AsyncGenerator<MessageInitShape<typeof WatchDirResponseSchema>> {
    const end = new AbortController();
    const gone = (): void => end.abort(context.signal.reason);
    if (context.signal.aborted) gone();
    else context.signal.addEventListener('abort', gone, { once: true });
    try {
      for await (const event of withPauses(this.changes(watch, end), keepAliveOf(context))) {
        if (event === null) yield { event: { case: 'keepalive', value: {} } };
        else if (event === 'started') yield { event: { case: 'start', value: {} } };
        else yield { event: { case: 'filesystem', value: event } };
      }
    } finally {
      context.signal.removeEventListener('abort', gone);
      // Ends a read that waits for the next change.
      end.abort(new DomainError('shutting_down'));
    }
  }

  /** @returns the watcher's id, once the directory is watched */
  async create(watch: Watch): Promise<string> {
    const { containerId } = watch.call;
    const own = [...this.watchers.values()].filter((each) => each.containerId === containerId);
    if (own.length >= MOST_WATCHERS) throw new DomainError('too_many_watches', { fields: { limit: MOST_WATCHERS } });
    const id = randomUUID();
    const end = new AbortController();
    const idle = setTimeout(() => this.end(id), IDLE_MS).unref();
    const watcher: Watcher = { containerId, end, events: [], fault: null, idle };
    this.watchers.set(id, watcher);
    try {
      const changes = this.changes(watch, end);
      await changes.next();
      void this.collect(watcher, changes);
      return id;
    } catch (error) {
      this.end(id);
      throw error;
    }
  }

  /** The events since the last call. @throws DomainError, ConnectError: why the watcher has ended, after its events */
  take(call: EnvdCall, id: string): Event[] {
    const watcher = this.find(call, id);
    watcher.idle.refresh();
    const { events, fault } = watcher;
    watcher.events = [];
    if (events.length > 0 || fault === null) return events;
    this.end(id);
    throw fault;
  }

  /** @throws ConnectError `not_found` */
  remove(call: EnvdCall, id: string): void {
    this.find(call, id);
    this.end(id);
  }

  private find({ containerId }: EnvdCall, id: string): Watcher {
    const watcher = this.watchers.get(id);
    if (watcher?.containerId !== containerId) throw new ConnectError('watcher not found', Code.NotFound);
    return watcher;
  }

  private end(id: string): void {
    const watcher = this.watchers.get(id);
    this.watchers.delete(id);
    clearTimeout(watcher?.idle);
    watcher?.end.abort(new DomainError('shutting_down'));
  }

  private async collect(watcher: Watcher, changes: AsyncIterable<Event | 'started'>): Promise<void> {
    try {
      for await (const event of changes) {
        if (event === 'started') continue;
        if (watcher.events.length >= MOST_EVENTS) throw lost();
        watcher.events.push(event);
      }
      watcher.fault = new ConnectError('the directory is gone', Code.NotFound);
    } catch (error) {
      watcher.fault = error;
    }
  }

  /** First `started`, once the directory is watched; then the changes, until `end` aborts. */
  private async *changes(watch: Watch, end: AbortController): AsyncGenerator<Event | 'started', void> {
    const { call, path, recursive, entryOf } = watch;
    const { principal, containerId } = call;
    if (this.open.isClosed) throw new DomainError('shutting_down');
    const remove = this.open.add({ ...dependsOn(principal), end: (reason) => end.abort(reason) });
    let leave = (): void => undefined;
    const left = new Promise<void>((resolve) => (leave = resolve));
    try {
      let open = (_events: () => AsyncGenerator<Event, void>): void => undefined;
      const opened = new Promise<() => AsyncGenerator<Event, void>>((resolve) => (open = resolve));
      const using = this.files.use({ caller: principal, id: containerId, gone: end.signal }, async (files, inside) => {
        const changes = await files.watch(inside, path.bytes, { recursive });
        open(async function* () {
          for await (const batch of changes) {
            for (const change of batch) {
              if (change.type === 'overflow') throw lost();
              const name = change.path.toString();
              const isThere = change.type !== 'remove' && change.type !== 'rename';
              const entry = entryOf && isThere ? await entryOf(files, inside, path.below(change.path)) : null;
              yield { name, type: TYPES[change.type], ...(entry && { entry }) };
            }
          }
        });
        await left;
        await changes.return?.();
      });
      // Rejects if the directory cannot be watched; later errors are those of the changes.
      const events = await Promise.race([opened, using.then(() => opened)]);
      using.catch(() => undefined);
      yield 'started';
      yield* events();
      // Not if the directory itself is gone.
      if (end.signal.aborted) throw end.signal.reason;
    } catch (error) {
      throw end.signal.aborted ? end.signal.reason : insideFault(error);
    } finally {
      remove();
      leave();
    }
  }
}

function lost(): ConnectError {
  return new ConnectError('changes were lost: list the directory, and watch it again', Code.DataLoss);
}
