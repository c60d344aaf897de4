import type { Socket } from 'socket.io';

/**
 * Packets that may wait for a client that does not read, beside as many that its transport holds already. An event is about
 * half a kilobyte, so this is about a megabyte a socket at most.
 */
export const MOST_WAITING = 1_000;

/** Sends to one client, and gives up on one that does not read. It can come back and have what it missed replayed. */
export class SocketOutbox {
  constructor(private readonly socket: Socket) {}

  send(name: string, payload: object): void {
    if (this.waiting >= MOST_WAITING) {
      // Without waiting for the buffer to empty, which it does not do; as a broken connection, so that the client reconnects.
      this.socket.conn.close(true);
      return;
    }
    this.socket.emit(name, payload);
  }

  /** Resolves once all that was sent is on its way, or the connection is gone. */
  async ready(): Promise<void> {
    const { conn } = this.socket;
    while (this.waiting > 0 && conn.readyState === 'open') {
      await new Promise<void>((resolve) => {
        const done = () => {
          conn.off('drain', done).off('close', done);
          resolve();
        };
        conn.on('drain', done).on('close', done);
      });
    }
  }

  private get waiting(): number {
    // Private in the types alone, and there is no other way to see what waits.
    return (this.socket.conn as unknown as { readonly writeBuffer: readonly unknown[] }).writeBuffer.length;
  }
}
