/** Merges the messages of several sources, in the order of arrival, for one reader. */
export class MessageQueue<T> {
  private readonly messages: T[] = [];
  private wake: () => void = () => undefined;

  put(message: T): void {
    this.messages.push(message);
    this.wake();
  }

  /** Yields until the signal aborts. */
  async *read(signal: AbortSignal): AsyncGenerator<T, void> {
    const onAbort = (): void => this.wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        const message = this.messages.shift();
        if (message === undefined) await new Promise<void>((resolve) => (this.wake = resolve));
        else yield message;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
