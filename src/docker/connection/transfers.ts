import { Transform } from 'node:stream';

/** @param onCount called with the number of all bytes that have passed so far */
export function countingStream(onCount: (bytes: number) => void): Transform {
  let bytes = 0;
  return new Transform({
    highWaterMark: 1024 * 1024,
    transform: (chunk: Buffer, _encoding, done) => {
      bytes += chunk.length;
      onCount(bytes);
      done(null, chunk);
    },
  });
}

/**
 * If one of the promises rejects, the others are aborted and awaited, so that no work still runs when a rollback
 * begins.
 */
export async function allOrAbort<T extends readonly Promise<unknown>[]>(
  abort: AbortController,
  works: readonly [...T],
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const ended = works.map((work) =>
    work.catch((error: unknown) => {
      abort.abort(error);
      throw error;
    }),
  );
  await Promise.allSettled(ended);
  abort.signal.throwIfAborted();
  return (await Promise.all(ended)) as { -readonly [K in keyof T]: Awaited<T[K]> };
}
