import { finished, type Readable, type Writable } from 'node:stream';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { DomainError } from '../../errors';

/** How many bytes may wait to be taken: what is ready is on its way while more is being read. */
const MOST_AHEAD = 1024 * 1024;

/** How a script is given its input. */
export interface Feeding {
  /** Told of each piece before it is given; what it throws ends all. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
  /** Whether each piece's memory may be given up once it is taken. */
  readonly isFreed: boolean;
  /** How long the script may take nothing. */
  readonly idleMs: number;
  /** Calls back at the end of the script, or of its output: `null`, or what went wrong. @returns how to stop that */
  readonly onEnd: (listener: (fault: Error | null) => void) => () => void;
}

/**
 * Gives a script some content as input, as fast as it takes it.
 *
 * @returns how many bytes; null if the script has ended before it had all, whether or not there is more to come
 * @throws DomainError `tools_failed` if it neither takes it nor ends; what the content fails with
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
        stalled ??= setTimeout(() => reject(new DomainError('tools_failed')), idleMs);
      };
      // Before all is taken: more is read while what has waited is being written.
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

/** A closed one: what is handed over to it is dropped. */
const nowhere = closedPort();

function closedPort(): MessagePort {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}

/**
 * Frees a piece's memory at once. V8 (Node.js 20) counts memory outside its heap that waits to be collected as if it
 * were in it, so that some 32 MiB of it make V8 collect the whole heap, which takes longer than to pass them on.
 */
function free({ buffer, length }: Buffer): void {
  // Small pieces share theirs.
  if (buffer.byteLength === length) nowhere.postMessage(null, [buffer as ArrayBuffer]);
}

/** Lets a stream write together what it is given in this turn of the event loop: each write is several system calls. */
function gather(stream: Writable): void {
  if (stream.writableCorked > 0) return;
  stream.cork();
  setImmediate(() => stream.uncork());
}
