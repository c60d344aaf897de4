import { Inject, Injectable } from '@nestjs/common';
import { ContainersService, insideFault, type RunningContainer } from '../../containers';
import { ContainerEngine, EngineError, type FileChange } from '../../engine';
import { DomainError, invalidParameters } from '../../errors';
import type { EventStream } from '../../http';
import { LOGGER, type Logger } from '../../logging';
import { RunStreams, type StreamCall } from '../access/run-streams';
import { ContainerPath } from './container-path';
import type { FileChangeView, WatchEndView } from './dto';
import { fileFault } from './files.service';

/** The supervisor's bounds in one container, for all servers together. */
const MOST_WATCHES = 16;
const MOST_DIRECTORIES = 4096;

interface Watching extends StreamCall {
  readonly id: string;
  readonly recursive: boolean;
}

/** Watched directories of containers, as event streams. */
@Injectable()
export class FileWatches {
  constructor(
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    private readonly streams: RunStreams,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Answers with a stream of the changes in a directory, once it is watched. The stream ends with the directory, the
   * container's run, the caller's access or the server. Only its beginning counts as use of the container.
   *
   * @throws DomainError as `FilesService`, `too_many_watches`, `too_many_connections`, `shutting_down`
   */
  async watch(call: Watching, given: Buffer | undefined): Promise<void> {
    if (given === undefined) throw invalidParameters([{ field: 'path', message: 'must be given' }]);
    const path = ContainerPath.parse(given, 'path');
    const { caller, id, recursive } = call;
    const stream = this.streams.enter(call);
    const over = new AbortController();
    const leave = (): void => over.abort(new DomainError('tools_failed', { code: 'broken_off' }));
    stream.onClose(leave);
    if (stream.isOver) leave();
    const begin = async (container: RunningContainer) => {
      const inside = { engineId: container.engineId, signal: over.signal };
      return { container, changes: await this.engine.files.watch(inside, path.bytes, { recursive }) };
    };
    const { container, changes } = await this.containers.inside(caller, id, begin).catch((error: unknown) => {
      throw isTooMany(error) ? tooManyWatches(error) : fileFault(error);
    });
    try {
      this.streams.begin<WatchEndView>(stream, call, (end) => {
        this.pass(changes, { stream, path })
          .then(() => end({ reason: 'directory_removed' }))
          .catch(async (error: unknown) => {
            if (!over.signal.aborted) end(await this.endOf(error, call, container));
          });
        return leave;
      });
    } catch (error) {
      leave();
      throw error;
    }
  }

  /** Sends changes as fast as the client reads; the supervisor drops those that have no room meanwhile. */
  private async pass(
    changes: AsyncIterable<readonly FileChange[]>,
    { stream, path }: { readonly stream: EventStream; readonly path: ContainerPath },
  ): Promise<void> {
    for await (const some of changes) {
      stream.send({ type: 'changes', payload: { changes: some.map((change) => describeChange(path, change)) } });
      await stream.drained();
    }
  }

  private async endOf(error: unknown, { caller }: Watching, container: RunningContainer): Promise<WatchEndView> {
    if (isTooMany(error)) return { reason: 'too_many_watches' };
    const fault = insideFault(error);
    if (fault instanceof DomainError && fault.kind === 'container_not_running') {
      return this.streams.endOfRun(caller, container);
    }
    this.logger.warn({ err: error, container_id: container.id }, 'a watch of files has failed');
    return { reason: 'watch_failed' };
  }
}

function describeChange(directory: ContainerPath, { type, path: below }: FileChange): FileChangeView {
  const path = below.length === 0 ? directory : directory.below(below);
  return { type, path: path.text, ...(!path.isText && { path_encoded: path.inQuery }) };
}

function isTooMany(error: unknown): boolean {
  return error instanceof EngineError && error.code === 'too_many';
}

function tooManyWatches(cause: unknown): DomainError {
  return new DomainError('too_many_watches', {
    fields: { limit: MOST_WATCHES, directories: MOST_DIRECTORIES },
    cause,
  });
}
