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

/**
 * Rejects if the signal is aborted before `work` is done. `work` itself is not cancelled; its result is ignored. Any
 * number of calls may wait for one signal.
 *
 * @param aborted makes the error for that case
 */
export async function untilAborted<T>(
  work: Promise<T>,
  { signal, aborted }: { signal: AbortSignal | undefined; aborted: () => Error },
): Promise<T> {
  if (!signal) return work;
  // Node.js warns of a leak at an eleventh listener. Each of these is removed below.
  setMaxListeners(0, signal);
  let onAbort: () => void = () => undefined;
  const abortion = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(aborted());
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, abortion]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
