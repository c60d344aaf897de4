import type { Socket } from 'node:net';
import type { Connection, ServerChannel } from 'ssh2';
import { exchangesKeys, guardConnectionMessages, socketOf } from './ssh2-internals';

const MIB = 1024 * 1024;

/** The bounds of one connection, in bytes and milliseconds. A client that goes beyond one is disconnected. */
export const BOUNDS = {
  /** Before the login: all that a client sends. Twenty of the longest keys, offered and signed, are half of it. */
  inputBeforeLogin: 256 * 1024,
  /** Before the login: answers that the client does not read. */
  unsentBeforeLogin: 64 * 1024,
  /** Answers that the client does not read. Output itself waits in the container, at {@link OUTPUT_UNSENT}. */
  unsent: 4 * MIB,
  /** Input of a channel that its program does not read: twice ssh2's window of 2 MiB, which it may renew once. */
  inputOfChannel: 4 * MIB + 64 * 1024,
  exchangeMs: 10_000,
} as const;

/** Input that programs do not read, in all connections of one user and of this process. */
const MOST_INPUT = { ofUser: 64 * MIB, together: 256 * MIB } as const;

/** Output that waits for a client's connection, beyond which programs wait. */
const OUTPUT_UNSENT = MIB;

/**
 * Bounds what a client makes the server keep, which ssh2 itself does not: input beyond a channel's window, output
 * during a key exchange, messages before the login, answers that are not read.
 */
export class SshBounds {
  readonly socket: Socket;
  private readonly channels = new Set<ServerChannel>();
  private user: { readonly id: string; readonly inputs: WaitingInputs } | null = null;
  private exchange: NodeJS.Timeout | null = null;
  private change: Promise<void> | null = null;

  /** Must be called when ssh2 announces the connection: its first key exchange has not begun then. */
  constructor(
    private readonly connection: Connection,
    private readonly bounds: { readonly [Name in keyof typeof BOUNDS]: number } = BOUNDS,
  ) {
    const socket = socketOf(connection);
    this.socket = socket;
    const cut = (): void => void socket.destroy();
    this.exchange = setTimeout(cut, bounds.exchangeMs).unref();
    let exchanges = 0;
    connection.on('handshake', () => {
      exchanges += 1;
      clearTimeout(this.exchange ?? undefined);
      this.exchange = null;
      if (exchanges > 1 && !this.user) cut();
    });
    guardConnectionMessages(connection, () => {
      if (!this.user) cut();
      return this.user !== null;
    });
    // ssh2 has read the same bytes before: its listener is older.
    socket.on('data', () => this.check());
    socket.once('close', () => {
      clearTimeout(this.exchange ?? undefined);
      this.user?.inputs.forget(this);
    });
  }

  /** Applies the bounds of a client that has logged in. */
  admit(userId: string, inputs: WaitingInputs): void {
    this.user = { id: userId, inputs };
  }

  /** Bounds the input of a channel. @returns a function to be called when the channel is over */
  addChannel(channel: ServerChannel): () => void {
    this.channels.add(channel);
    return () => void this.channels.delete(channel);
  }

  /** Bytes that programs have not read, of all channels. */
  get waitingInput(): number {
    let bytes = 0;
    for (const { readableLength } of this.channels) bytes += readableLength;
    return bytes;
  }

  get userId(): string | null {
    return this.user?.id ?? null;
  }

  /** Whether output must wait: the client does not read what was sent, or a key exchange is under way. */
  get isFull(): boolean {
    const { socket, connection } = this;
    return !socket.destroyed && (socket.writableLength > OUTPUT_UNSENT || exchangesKeys(connection));
  }

  /** Resolves when the socket has sent what it kept, a key exchange is over, or the connection. */
  nextChange(): Promise<void> {
    this.change ??= new Promise((resolve) => {
      const changed = (): void => {
        this.socket.off('drain', changed).off('close', changed);
        this.connection.off('handshake', changed);
        this.change = null;
        resolve();
      };
      this.socket.on('drain', changed).on('close', changed);
      this.connection.on('handshake', changed);
    });
    return this.change;
  }

  private check(): void {
    const { socket, bounds, user } = this;
    if (exchangesKeys(this.connection)) {
      this.exchange ??= setTimeout(() => socket.destroy(), bounds.exchangeMs).unref();
    }
    const isBeyond = user
      ? socket.writableLength > bounds.unsent || this.isChannelBeyond()
      : socket.writableLength > bounds.unsentBeforeLogin || socket.bytesRead > bounds.inputBeforeLogin;
    if (isBeyond) socket.destroy();
    else user?.inputs.note(this);
  }

  private isChannelBeyond(): boolean {
    for (const { readableLength } of this.channels) if (readableLength > this.bounds.inputOfChannel) return true;
    return false;
  }
}

/** Bounds the input that programs do not read, together: by user, and in this process. */
export class WaitingInputs {
  /** Bytes as of the connection's last message: programs may have read some since. */
  private readonly noted = new Map<SshBounds, number>();
  private readonly ofUsers = new Map<string, number>();
  private together = 0;

  constructor(private readonly most: { readonly ofUser: number; readonly together: number } = MOST_INPUT) {}

  /** Notes a connection's input, and disconnects it, or the heaviest user's, if that is too much. */
  note(connection: SshBounds): void {
    this.set(connection, connection.waitingInput);
    const { most } = this;
    if ((this.ofUsers.get(connection.userId ?? '') ?? 0) > most.ofUser) {
      this.refresh();
      if ((this.ofUsers.get(connection.userId ?? '') ?? 0) > most.ofUser) connection.socket.destroy();
    }
    if (this.together <= most.together) return;
    this.refresh();
    if (this.together > most.together) this.heaviest()?.socket.destroy();
  }

  forget(connection: SshBounds): void {
    this.set(connection, 0);
  }

  private set(connection: SshBounds, bytes: number): void {
    const { userId } = connection;
    const more = bytes - (this.noted.get(connection) ?? 0);
    if (userId === null || more === 0) return;
    if (bytes === 0) this.noted.delete(connection);
    else this.noted.set(connection, bytes);
    this.together += more;
    const ofUser = (this.ofUsers.get(userId) ?? 0) + more;
    if (ofUser === 0) this.ofUsers.delete(userId);
    else this.ofUsers.set(userId, ofUser);
  }

  private refresh(): void {
    for (const connection of [...this.noted.keys()]) this.set(connection, connection.waitingInput);
  }

  /** The connection with the most input of the user with the most. */
  private heaviest(): SshBounds | undefined {
    const [user] = [...this.ofUsers].sort(([, one], [, other]) => other - one).map(([id]) => id);
    const [first] = [...this.noted]
      .filter(([{ userId }]) => userId === user)
      .sort(([, one], [, other]) => other - one)
      .map(([connection]) => connection);
    return first;
  }
}
