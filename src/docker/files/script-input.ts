import { finished, type Readable, type Writable } from 'node:stream';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { EngineError } from '../engine-error';

/** Maximum bytes that wait to be written, so that writing goes on while more is read. */
const MOST_AHEAD = 1024 * 1024;

/** How a script gets its input. */
interface Feeding {
  /** Called with the size of each chunk before it is written. An error that it throws ends the transfer. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Whether a chunk's memory may be freed once the chunk is written. */
  readonly isFreed: boolean;
  /** How long the script may take no input. */
  readonly idleMs: number;
  /**
   * Registers a listener for the end of the script or of its output, which gets `null` or the error.
   *
   * @returns a function that removes it
   */
  readonly onEnd: (listener: (fault: Error | null) => void) => () => void;
}

/**
 * Writes content to a script's input as fast as the script takes it.
 *
 * @returns the number of bytes; null if the script ended before it took all of them, even if no more were to come
 * @throws EngineError `tools_failed` if the script neither takes input nor ends; the content's own error
 */
export async function feed(
  stdin: Writable,
  content: Readable,
  { onBytes, isFreed, idleMs, onEnd }: Feeding,
): Promise<number | null> {
  let bytes = 0;
  let stalled: NodeJS.Timeout | undefined;
  let forget = (): void => undefined;
  try {
    return await new Promise((resolve, reject) => {
      const take = (data: Buffer): void => {
        bytes += data.length;
        try {
          onBytes?.(data.length);
        } catch (error) {
          content.off('data', take);
          content.destroy(error as Error);
          return;
        }
        gather(stdin);
        const written = (error?: Error | null): void => {
          if (isFreed && !error) free(data);
          taken();
        };
        if (stdin.write(data, written) || stdin.writableLength < MOST_AHEAD) return;
        content.pause();
        stalled ??= setTimeout(() => reject(new EngineError('tools_failed', 'the script takes no input')), idleMs);
      };
      // Resumes before everything is written, so that reading and writing overlap.
      const taken = (): void => {
        if (stalled === undefined || stdin.writableLength >= MOST_AHEAD) return;
        clearTimeout(stalled);
        stalled = undefined;
        content.resume();
      };
      const closed = (): void => resolve(null);
      const unlisten = finished(content, { writable: false }, (error) => (error ? reject(error) : resolve(bytes)));
      const stopListening = onEnd((fault) => (fault ? reject(fault) : resolve(null)));
      stdin.on('close', closed);
      content.on('data', take);
      forget = () => {
        unlisten();
        stopListening();
        stdin.off('close', closed);
        content.off('data', take);
      };
    });
  } finally {
    clearTimeout(stalled);
    forget();
    content.on('error', () => undefined).destroy();
  }
}

/** A closed port: memory that is transferred to it is freed. */
const nowhere = closedPort();

function closedPort(): MessagePort {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}

/**
 * Frees a chunk's memory at once. V8 (Node.js 20) counts external memory that waits for collection as if it were in
 * its heap: some 32 MiB of it trigger a collection of the whole heap, which takes longer than passing them on.
 */
function free({ buffer, length }: Buffer): void {
  // Small chunks share their memory with others.
  if (buffer.byteLength === length) nowhere.postMessage(null, [buffer as ArrayBuffer]);
}

/**
 * Lets a stream write all chunks of this turn of the event loop together, because each write costs several system
 * calls.
 */
function gather(stream: Writable): void {
  if (stream.writableCorked > 0) return;
  stream.cork();
  setImmediate(() => stream.uncork());
}
