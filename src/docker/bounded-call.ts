import { EngineError } from './engine-error';

/**
 * Runs a call that may never answer. Not left to the signal alone: docker-modem does not settle every call that is aborted.
 *
 * @param timeoutMs from now to the whole answer, waiting for a free socket included
 * @throws EngineError `docker_unavailable` when the time is over; whatever the call throws
 */
export async function boundedCall<T>(timeoutMs: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      // Rejects before it aborts, or the abortion's own error would come first.
      reject(new EngineError('docker_unavailable', `Docker did not answer within ${String(timeoutMs)} ms`));
      abort.abort();
    }, timeoutMs);
  });
  try {
    return await Promise.race([call(abort.signal), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
