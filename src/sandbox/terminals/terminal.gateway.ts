import { Logger } from '@nestjs/common';
import { OnGatewayConnection, OnGatewayInit, WebSocketGateway } from '@nestjs/websockets';
import type { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { DefaultEventsMap, Namespace, Socket } from 'socket.io';
import { DomainError, ERRORS } from '../../errors';
import { admitSockets, ConnectionRefused, tokenOf } from '../../events';
import type { TerminalOutlet } from './attachment';
import { MAX_INPUT_BYTES, sizeOf, TerminalAdmission, type Visit } from './terminal-admission';
import type { Attached } from './terminal-session';

interface TerminalSocketData {
  readonly visit: Visit;
  readonly attached: Attached;
  /** Detaches the client from the terminal. Further calls do nothing. */
  readonly leave: () => void;
}

type TerminalSocket = Socket<DefaultEventsMap, DefaultEventsMap, DefaultEventsMap, TerminalSocketData>;
type TerminalServer = Namespace<DefaultEventsMap, DefaultEventsMap, DefaultEventsMap, TerminalSocketData>;

/**
 * Maximum packets that wait for a client that does not read. Packets of output count as well; a window limits their
 * bytes.
 */
const MAX_ANSWERS_WAITING = 200;

/** How long a client may take to read why it is disconnected. */
const GOODBYE_MS = 1_000;

/** Why a client's message was refused. */
export type Fault = 'not_writer' | 'input_full' | 'input_too_large' | 'invalid_ack' | 'invalid_parameters';

const FAULTS: Readonly<Record<Fault, string>> = {
  not_writer: 'another client writes',
  input_full: 'the shell does not read its input',
  input_too_large: `input is limited to ${String(MAX_INPUT_BYTES)} bytes a message`,
  invalid_ack: 'more output was acknowledged than was sent',
  invalid_parameters: ERRORS.invalid_parameters.message,
};

/** Terminals over Socket.IO: bytes with offsets, acknowledged by the client. */
@WebSocketGateway({ namespace: '/terminal' })
export class TerminalGateway implements OnGatewayInit<TerminalServer>, OnGatewayConnection<TerminalSocket> {
  private readonly logger = new Logger(TerminalGateway.name);

  constructor(private readonly entrance: TerminalAdmission) {}

  afterInit(server: TerminalServer): void {
    admitSockets(server, {
      admit: (socket) => this.admit(socket),
      onFault: (error) => this.logger.error({ msg: 'a terminal could not be opened', err: error }),
    });
  }

  handleConnection(socket: TerminalSocket): void {
    const { visit, attached, leave } = socket.data;
    const { session } = visit;
    const { attachment, offset, gap } = attached;
    // Without a listener, Socket.IO prints messages that it cannot decode.
    socket.on('error', () => undefined);
    socket.once('disconnect', leave);
    socket.on('input', (data: unknown, done: unknown) => {
      const bytes = typeof data === 'string' || Buffer.isBuffer(data) ? Buffer.from(data) : null;
      if (bytes === null) answer(socket, done, 'invalid_parameters');
      else if (bytes.length > MAX_INPUT_BYTES) answer(socket, done, 'input_too_large');
      else {
        const outcome = session.input(attachment, bytes);
        answer(socket, done, outcome === 'taken' ? null : outcome === 'full' ? 'input_full' : outcome);
      }
    });
    socket.on('resize', (message: unknown, done: unknown) => {
      const size = sizeOf(message);
      if (size) session.resize(attachment, size);
      answer(socket, done, size ? null : 'invalid_parameters');
    });
    socket.on('ack', (bytes: unknown) => {
      if (!Number.isSafeInteger(bytes) || (bytes as number) <= 0) answer(socket, null, 'invalid_parameters');
      else if (!attachment.acknowledge(bytes as number)) {
        answer(socket, null, 'invalid_ack');
        leave();
        socket.disconnect();
        // Closes the connection even if the client does not read the error.
        setTimeout(() => socket.conn.close(true), GOODBYE_MS).unref();
      }
    });
    socket.on('takeover', (done: unknown) => {
      session.takeOver(attachment);
      answer(socket, done, null);
    });
    onOutputWritten(socket.conn, (written) => attachment.noteWritten(written));
    socket.emit('attached', { session: session.id, offset, gap, role: attachment.role });
    session.begin(attachment);
  }

  /** Admits and attaches the client before it is connected. @throws ConnectionRefused, DomainError */
  private async admit(socket: TerminalSocket): Promise<void> {
    const auth: unknown = socket.handshake.auth;
    const visit = await this.entrance
      .admit(socket.request, { token: tokenOf(auth), asked: auth })
      .catch((error: unknown) => {
        // The client gets this error's code; after other server faults, it reconnects.
        throw error instanceof DomainError && error.kind === 'terminal_failed' ? new ConnectionRefused(error) : error;
      });
    const { session } = visit;
    let attached: Attached;
    try {
      attached = session.attach(outletOf(socket), visit.attach);
    } catch (error) {
      visit.leave();
      throw error;
    }
    const unwatch = visit.watchToken(() => {
      leave();
      setImmediate(() => socket.disconnect());
    });
    let hasLeft = false;
    const leave = (): void => {
      if (hasLeft) return;
      hasLeft = true;
      socket.conn.off('close', leave);
      unwatch();
      visit.leave();
      session.detach(attached.attachment);
      // The client was never told of its new session, so no client can come back to it.
      if (visit.isNew && !socket.connected && session.clients === 0 && !attached.attachment.hasBegun) {
        void session.end('detached');
      }
    };
    socket.data = { visit, attached, leave };
    // If the transport closes before the socket is connected, there is no `disconnect` event.
    socket.conn.once('close', leave);
    if (socket.conn.readyState !== 'open') leave();
  }
}

function outletOf(socket: TerminalSocket): TerminalOutlet {
  return {
    output: (offset, bytes) => socket.emit('output', offset, bytes),
    role: (role) => socket.emit('role', { role }),
    exit: (exit) => {
      socket.emit('exit', exit);
      socket.disconnect();
    },
    // Looks like a broken connection, so that the client reconnects.
    drop: () => socket.conn.close(true),
  };
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
 * Calls back with the number of bytes of output that have left this process. Engine.IO considers the response to a
 * poll sent as soon as it is made. A client that polls again without reading would make it collect output without
 * limit.
 */
function onOutputWritten(conn: TerminalSocket['conn'], written: (bytes: number) => void): void {
  conn.on('flush', (packets: readonly { readonly data?: unknown }[]) => {
    // Only output is sent as binary data.
    const bytes = packets.reduce((sum, { data }) => sum + (Buffer.isBuffer(data) ? data.length : 0), 0);
    if (bytes === 0) return;
    let isWritten = false;
    const note = (): void => {
      if (!isWritten) written(bytes);
      isWritten = true;
    };
    const transport = conn.transport as unknown as Transport;
    if (transport.name === 'polling') transport.res?.once('finish', note).once('close', note);
    else transport.once('drain', note);
  });
}

/** Answers through the client's callback if it gave one. Without one, only a refusal is sent. */
function answer(socket: TerminalSocket, done: unknown, fault: Fault | null): void {
  // Private in Engine.IO's types, but there is no other way to see what waits.
  const { writeBuffer } = socket.conn as unknown as { readonly writeBuffer: readonly unknown[] };
  if (writeBuffer.length > MAX_ANSWERS_WAITING) {
    socket.conn.close(true);
    return;
  }
  const problem = fault && { error: FAULTS[fault], code: fault };
  if (typeof done === 'function') (done as (answer: object) => void)(problem ?? { ok: true });
  else if (problem) socket.emit('refused', problem);
}
