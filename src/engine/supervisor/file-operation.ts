import { Readable } from 'node:stream';
import { untilAborted, within } from '../../scheduling';
import { EngineError } from '../port/engine-error';
import type { FilesCall } from '../port/engine-files';
import type { SupervisorRequest } from './channel';
import { ANY_ANSWER, type ChannelStream, type DataTaker, type Shape } from './channel-stream';
import type { SandboxChannels } from './sandbox-channels';

/** How long the supervisor may take for an answer, or for the next bytes in either direction, in milliseconds. */
const ANSWER_MS = 60_000;

/** The memory of a buffer whose size is not known before, at first. */
const FIRST_BYTES = 64 * 1024;

/**
 * A file operation of a supervisor: its stream, with the time limits that the protocol does not have, and the signal of
 * its call. All methods throw the signal's reason when it has aborted, and otherwise EngineError.
 */
export class FileOperation {
  private readonly cancel: () => void;

  private constructor(
    readonly stream: ChannelStream,
    private readonly signal: AbortSignal,
  ) {
    this.cancel = () => stream.cancel();
    signal.addEventListener('abort', this.cancel, { once: true });
    if (signal.aborted) this.cancel();
  }

  /** @param options.input whether the operation takes data of this side */
  static async begin(
    channels: Pick<SandboxChannels, 'open'>,
    { engineId, signal }: FilesCall,
    { request, input }: { request: SupervisorRequest; input: boolean },
  ): Promise<FileOperation> {
    signal.throwIfAborted();
    const opening = channels.open(engineId, request, { input });
    const stream = await untilAborted(opening, { signal, unused: (opened) => opened.cancel() });
    return new FileOperation(stream, signal);
  }

  message<T>(shape: Shape<T>): Promise<T> {
    return this.within(this.stream.message(shape));
  }

  done<T>(shape: Shape<T>, ms = ANSWER_MS): Promise<T> {
    return this.within(this.stream.done(shape), ms);
  }

  /** To be called in any case, once nothing is expected any more: cancels what has not ended. */
  end(): void {
    this.signal.removeEventListener('abort', this.cancel);
    this.stream.cancel();
  }

  async within<T>(work: Promise<T>, ms = ANSWER_MS): Promise<T> {
    const late = (): EngineError => new EngineError('tools_failed', 'the supervisor did not answer in time');
    try {
      return await within(work, { ms, late });
    } catch (error) {
      throw this.signal.aborted ? this.signal.reason : error;
    }
  }

  /**
   * Sends the content, and then the end of the input.
   *
   * @param onBytes called with the size of each chunk before it is sent; what it throws ends the operation
   * @throws the content's error, too
   */
  async feed(content: Readable, onBytes: (bytes: number) => void): Promise<void> {
    // The iterator gets the error too. This listener keeps it from being unhandled before there is one.
    content.on('error', () => undefined);
    // A client that sends slowly learns at once that there is no space.
    this.stream.done(ANY_ANSWER).catch((error: unknown) => content.destroy(error as Error));
    for await (const chunk of content) {
      const data = chunk as Buffer;
      onBytes(data.length);
      await this.send(data);
    }
    this.stream.end();
  }

  /** Sends bytes. Their memory may be used again afterwards. */
  async send(data: Buffer): Promise<void> {
    const written = new Promise<void>((resolve, reject) => {
      this.stream.write(data, (error) => (error ? reject(error) : resolve()));
    });
    await this.within(written);
  }

  /**
   * The rest of the operation's bytes.
   *
   * @param most more bytes are a violation of the protocol
   */
  async collect(most: number): Promise<Buffer> {
    return this.within(this.collected(most));
  }

  /** Resolves when there are bytes to read, or the operation is over. */
  async hasBytes(readable: Readable): Promise<void> {
    const there = new Promise<void>((resolve, reject) => {
      readable.once('readable', resolve).once('error', reject);
    });
    await this.within(there);
  }

  /**
   * The bytes of the operation as a stream of Node's, which ends the operation.
   *
   * @param options.length how many bytes there must be; null: any number, as the supervisor's result decides
   * @param options.most more bytes are a violation of the protocol
   * @param options.onBytes called with the size of each chunk
   */
  readable(options: { length: number | null; most: number; onBytes: (bytes: number) => void }): Readable {
    const { stream } = this;
    const { length, most, onBytes } = options;
    let flow: ReturnType<ChannelStream['flowTo']> | null = null;
    let bytes = 0;
    const taker: DataTaker = {
      take: ({ data }) => {
        if (readable.destroyed) return;
        bytes += data.length;
        if (bytes > most) {
          readable.destroy(stream.violated(`more than ${String(most)} bytes`));
          return;
        }
        onBytes(data.length);
        if (!readable.push(data)) flow?.pause();
      },
      over: () => {
        this.done(ANY_ANSWER).then(
          () => {
            if (length === null || bytes === length) readable.push(null);
            else readable.destroy(new EngineError('tools_failed', 'the file has become shorter'));
          },
          (error: unknown) => readable.destroy(error as Error),
        );
      },
    };
    const readable = new Readable({
      read: () => {
        if (flow) flow.resume();
        else flow = stream.flowTo(taker);
      },
      destroy: (error, callback) => {
        this.end();
        callback(error);
      },
    });
    return readable;
  }

  private async collected(most: number): Promise<Buffer> {
    let all = Buffer.allocUnsafe(Math.min(most, FIRST_BYTES));
    let bytes = 0;
    for await (const { data } of this.stream.chunks()) {
      if (bytes + data.length > most) throw this.stream.violated(`more than ${String(most)} bytes`);
      if (bytes + data.length > all.length) {
        const more = Buffer.allocUnsafe(Math.min(most, Math.max(2 * all.length, bytes + data.length)));
        all.copy(more, 0, 0, bytes);
        all = more;
      }
      // A copy: a part of a chunk would keep the chunk, and there may be one for each byte.
      bytes += data.copy(all, bytes);
    }
    await this.stream.done(ANY_ANSWER);
    return all.subarray(0, bytes);
  }
}
