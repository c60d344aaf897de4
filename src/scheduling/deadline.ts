import { setMaxListeners } from 'node:events';

/**
 * Rejects if `work` takes longer than `ms`. `work` itself is not cancelled; its result is ignored.
 *
 * @param late makes the error for that case
 */
export async function within<T>(
  work: Promise<T>,
  { ms, late = () => new Error(`no answer within ${String(ms)} ms`) }: { ms: number; late?: () => Error },
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(late()), ms);
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}

interface UntilAborted<T> {
  readonly signal: AbortSignal | undefined;
  readonly aborted?: () => Error;
  readonly unused?: (result: T) => void;
}

/**
 * Rejects if the signal is aborted before `work` is done. `work` itself is not cancelled; its result is ignored. Any
 * number of calls may wait for one signal.
 *
 * @param options.aborted makes the error for that case; by default, the signal's reason
 * @param options.unused called with a result that comes after the rejection
 */
export async function untilAborted<T>(work: Promise<T>, { signal, aborted, unused }: UntilAborted<T>): Promise<T> {
  if (!signal) return work;
  // Node.js warns of a leak at an eleventh listener. Each of these is removed below.
  setMaxListeners(0, signal);
  let onAbort: () => void = () => undefined;
  const abortion = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(aborted ? aborted() : (signal.reason as Error));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, abortion]);
  } catch (error) {
    if (unused) work.then(unused, () => undefined);
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
