import { Logger } from '@nestjs/common';
import { OnGatewayConnection, OnGatewayInit, WebSocketGateway } from '@nestjs/websockets';
import type { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { DefaultEventsMap, Namespace, Socket } from 'socket.io';
import { OpenConnections } from '../../auth';
import { DomainError } from '../../errors';
import { admitSockets, ConnectionRefused, tokenOf } from '../../events';
import type { TerminalExit, TerminalRole } from './attachment';
import { TerminalAdmission } from './terminal-admission';
import {
  type AttachedMessage,
  type CloseReason,
  type Fault,
  FAULTS,
  type TerminalCodec,
  type TerminalConnection,
} from './terminal-connection';

interface TerminalSocketData {
  readonly codec: SocketIoCodec;
  readonly connection: TerminalConnection;
}

type TerminalSocket = Socket<DefaultEventsMap, DefaultEventsMap, DefaultEventsMap, TerminalSocketData>;
type TerminalServer = Namespace<DefaultEventsMap, DefaultEventsMap, DefaultEventsMap, TerminalSocketData>;

/** Maximum answers that wait for a client that does not read. Output does not count: a window limits its bytes. */
const MAX_ANSWERS_WAITING = 200;

/** How long a client may take to read why it is disconnected. */
const GOODBYE_MS = 1_000;

/** Terminals over Socket.IO: bytes with offsets, acknowledged by the client. */
@WebSocketGateway({ namespace: '/terminal' })
export class TerminalGateway implements OnGatewayInit<TerminalServer>, OnGatewayConnection<TerminalSocket> {
  private readonly logger = new Logger(TerminalGateway.name);

  constructor(
    private readonly admission: TerminalAdmission,
    private readonly open: OpenConnections,
  ) {}

  afterInit(server: TerminalServer): void {
    admitSockets<TerminalSocket>(server, {
      open: this.open,
      admit: (socket) => this.admit(socket),
      // The client was attached before it is connected, and has depended on its token since.
      connected: () => null,
      onFault: (error) => this.logger.error({ msg: 'a terminal could not be opened', err: error }),
    });
  }

  handleConnection({ data: { codec, connection } }: TerminalSocket): void {
    codec.take(connection);
    connection.open();
  }

  /** Admits and attaches the client before it is connected. @throws ConnectionRefused, DomainError */
  private async admit(socket: TerminalSocket): Promise<void> {
    const asked: unknown = socket.handshake.auth;
    const { program, session } = (asked ?? {}) as { readonly program?: unknown; readonly session?: unknown };
    const codec = new SocketIoCodec(socket);
    const connection = await this.admission
      .admit(socket.request, codec, { token: tokenOf(asked), asked, program })
      .catch((error: unknown) => {
        // The client gets this error's code; after other server faults, it reconnects. So it does if the terminal that
        // it comes back to cannot be reached now.
        const isFailed = error instanceof DomainError && error.kind === 'terminal_failed';
        throw isFailed && session === undefined ? new ConnectionRefused(error) : error;
      });
    socket.data = { codec, connection };
    // If the transport closes before the socket is connected, there is no `disconnect` event.
    const leave = (): void => connection.leave();
    socket.conn.once('close', leave);
    socket.once('disconnect', () => socket.conn.off('close', leave));
    if (socket.conn.readyState !== 'open') connection.leave();
  }
}

/** Messages are Socket.IO events. Output is acknowledged by `ack`. */
export class SocketIoCodec implements TerminalCodec {
  private answersWaiting = 0;

  constructor(private readonly socket: TerminalSocket) {}

  /** Passes the client's messages on to its connection. */
  take(connection: TerminalConnection): void {
    const { socket } = this;
    // Without a listener, Socket.IO prints messages that it cannot decode.
    socket.on('error', () => undefined);
    socket.on('input', (data: unknown, done: unknown) => {
      const isInput = typeof data === 'string' || Buffer.isBuffer(data);
      this.answer(done, isInput ? connection.input(Buffer.from(data)) : 'invalid_parameters');
    });
    socket.on('resize', (message: unknown, done: unknown) => this.answer(done, connection.resize(message)));
    socket.on('ack', (bytes: unknown) => {
      const fault = connection.acknowledge(bytes);
      this.answer(null, fault);
      if (fault === 'invalid_ack') connection.close(fault);
    });
    socket.on('takeover', (done: unknown) => {
      connection.takeOver();
      this.answer(done, null);
    });
    const stopWatching = onFlush(socket.conn, {
      // A flush hands all that waits to the transport.
      flushed: () => (this.answersWaiting = 0),
      outputWritten: (bytes) => connection.noteWritten(bytes),
    });
    socket.once('disconnect', () => {
      // The client may join again on the same connection.
      stopWatching();
      connection.leave();
    });
  }

  attached(message: AttachedMessage): void {
    this.socket.emit('attached', message);
  }

  output(offset: number, bytes: Buffer): void {
    this.socket.emit('output', offset, bytes);
  }

  role(role: TerminalRole): void {
    this.socket.emit('role', { role });
  }

  exit(exit: TerminalExit): void {
    this.socket.emit('exit', exit);
    this.socket.disconnect();
  }

  close(reason: CloseReason): void {
    const { socket } = this;
    // Looks like a broken connection, so that the client reconnects.
    if (reason === 'too_slow' || reason === 'interrupted') socket.conn.close(true);
    else if (reason === 'token_ended') setImmediate(() => socket.disconnect());
    else {
      socket.disconnect();
      // Closes the connection even if the client does not read the error.
      setTimeout(() => socket.conn.close(true), GOODBYE_MS).unref();
    }
  }

  /** Answers through the client's callback if it gave one. Without one, only a refusal is sent. */
  private answer(done: unknown, fault: Fault | null): void {
    const hasCallback = typeof done === 'function';
    if (!hasCallback && fault === null) return;
    this.answersWaiting += 1;
    if (this.answersWaiting > MAX_ANSWERS_WAITING) {
      this.socket.conn.close(true);
      return;
    }
    const problem = fault && { error: FAULTS[fault], code: fault };
    if (hasCallback) (done as (answer: object) => void)(problem ?? { ok: true });
    else this.socket.emit('refused', problem);
  }
}

/**
 * The parts of Engine.IO's transport that its types keep private: there is no other way to see which bytes the
 * transport still holds.
 */
interface Transport extends EventEmitter {
  readonly name: string;
  /** The response to the open poll. */
  readonly res?: ServerResponse | null;
}

/**
 * Calls back at each flush, and with the number of bytes of output once they have left this process. Engine.IO
 * considers the response to a poll sent as soon as it is made. A client that polls again without reading would make it
 * collect output without limit.
 *
 * @returns a function that stops it
 */
function onFlush(
  conn: TerminalSocket['conn'],
  { flushed, outputWritten }: { flushed: () => void; outputWritten: (bytes: number) => void },
): () => void {
  const listen = (packets: readonly { readonly data?: unknown }[]): void => {
    flushed();
    // Only output is sent as binary data.
    const bytes = packets.reduce((sum, { data }) => sum + (Buffer.isBuffer(data) ? data.length : 0), 0);
    if (bytes === 0) return;
    let isWritten = false;
    const note = (): void => {
      if (!isWritten) outputWritten(bytes);
      isWritten = true;
    };
    const transport = conn.transport as unknown as Transport;
    if (transport.name === 'polling') transport.res?.once('finish', note).once('close', note);
    else transport.once('drain', note);
  };
  conn.on('flush', listen);
  return () => conn.off('flush', listen);
}
