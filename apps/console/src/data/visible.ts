/** Pause before a stream that failed is read again. */
const AGAIN_MS = 2_000;

/**
 * Reads a stream while the page is visible, and again after a failure or a time in the background.
 *
 * @param read reads the stream to its end; rejects if it fails or the signal is aborted
 * @param onFault called for each failure
 * @returns a function that ends the reading
 */
export function readWhileVisible(
  read: (signal: AbortSignal) => Promise<void>,
  onFault: (error: unknown) => void,
): () => void {
  let reading = new AbortController();
  let again: ReturnType<typeof setTimeout> | undefined;
  const leave = (): void => {
    reading.abort(new Error('the page was left'));
    clearTimeout(again);
  };
  const readOn = (): void => {
    leave();
    if (document.hidden) return;
    const { signal } = (reading = new AbortController());
    read(signal).catch((error: unknown) => {
      if (signal.aborted) return;
      onFault(error);
      again = setTimeout(readOn, AGAIN_MS);
    });
  };
  readOn();
  document.addEventListener('visibilitychange', readOn);
  return () => {
    document.removeEventListener('visibilitychange', readOn);
    leave();
  };
}
