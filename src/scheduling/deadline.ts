import { setMaxListeners } from 'node:events';

/**
 * Waits for `work`, but no longer than `ms`. What takes longer goes on unheard.
 *
 * @param late makes the error that is thrown when the time is over
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
 * Waits for `work` until the signal is aborted, if there is one. What is not done by then goes on unheard. Any number
 * of calls may wait for one signal.
 *
 * @param aborted makes the error that is thrown at the abort
 */
export async function untilAborted<T>(
  work: Promise<T>,
  { signal, aborted }: { signal: AbortSignal | undefined; aborted: () => Error },
): Promise<T> {
  if (!signal) return work;
  // Node.js takes an eleventh listener for a leak. Each of these is removed below.
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
