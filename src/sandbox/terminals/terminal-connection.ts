import { z } from 'zod';
import { ERRORS } from '../../errors';
import type { TerminalExit, TerminalOutlet, TerminalRole } from './attachment';
import type { Attached, AttachOptions, TerminalSession } from './terminal-session';

/** Maximum input in one message, in bytes. */
export const MAX_INPUT_BYTES = 16 * 1024;

const LONGEST_SIDE = 1_000;
/** The columns or rows of a terminal. */
export const side = z.coerce.number().int().min(1).max(LONGEST_SIDE);
const size = z.object({ cols: side, rows: side });

/** Why a client's message was refused. */
export type Fault = 'not_writer' | 'input_full' | 'input_too_large' | 'invalid_ack' | 'invalid_parameters';

export const FAULTS: Readonly<Record<Fault, string>> = {
  not_writer: 'another client has the input',
  input_full: 'the shell is not reading its input',
  input_too_large: `input is limited to ${String(MAX_INPUT_BYTES)} bytes per message`,
  invalid_ack: 'the acknowledged output exceeds the output sent',
  invalid_parameters: ERRORS.invalid_parameters.message,
};

/** A client that was admitted to one terminal. */
export interface AdmittedClient {
  readonly session: TerminalSession;
  /** Whether the session was started for this client. */
  readonly isNew: boolean;
  readonly attach: AttachOptions;
  /**
   * Watches the client's token; absent if the client's connection itself ends with it.
   *
   * @param end called once, when the token ends
   * @returns a function that stops watching
   */
  readonly watch?: (end: () => void) => () => void;
  /** Called once, when the client has gone. */
  readonly leave?: () => void;
}

/** The first message to a client. */
export interface AttachedMessage {
  readonly session: string;
  readonly offset: number;
  readonly gap: boolean;
  readonly role: TerminalRole;
}

/** Why the server closes a connection before the terminal has ended. */
export type CloseReason = 'token_ended' | 'too_slow' | 'invalid_ack' | 'interrupted';

/** Sends a connection's messages in the protocol of one endpoint. Its methods must not throw. */
export interface TerminalCodec {
  attached(message: AttachedMessage): void;
  /** Sends output. {@link TerminalConnection.noteWritten} has to be called once the bytes have left this process. */
  output(offset: number, bytes: Buffer): void;
  role(role: TerminalRole): void;
  /** Sends how the terminal has ended, and closes the client's connection. */
  exit(exit: TerminalExit): void;
  /** `interrupted`: the terminal goes on, and the client can come back. */
  close(reason: CloseReason): void;
}

/**
 * One client's connection to one terminal, over either endpoint. The client is attached first; its messages count from
 * {@link open} on, when the endpoint has completed the handshake, up to {@link leave}.
 */
export class TerminalConnection implements TerminalOutlet {
  private readonly attached: Attached;
  private state: 'attached' | 'open' | 'left' = 'attached';
  private unwatch: (() => void) | undefined;
  /** Tells the client why the server ended the connection before it was open. */
  private farewell: (() => void) | null = null;

  /** Attaches the client. @throws DomainError as `TerminalSession.attach`; `leave` has been called then */
  constructor(
    private readonly client: AdmittedClient,
    private readonly codec: TerminalCodec,
  ) {
    try {
      this.attached = client.session.attach(this, client.attach);
    } catch (error) {
      client.leave?.();
      throw error;
    }
    // May call back at once.
    this.unwatch = client.watch?.(() => this.close('token_ended'));
  }

  /** Begins the output, or says why the connection has ended meanwhile. Called when the client is connected. */
  open(): void {
    if (this.state === 'left') {
      this.farewell?.();
      return;
    }
    this.state = 'open';
    const { attachment, offset, gap } = this.attached;
    const { session } = this.client;
    this.codec.attached({ session: session.id, offset, gap, role: attachment.role });
    session.begin(attachment);
  }

  /** @returns why the input was refused; null if it was passed on */
  input(bytes: Buffer): Fault | null {
    if (this.state === 'left') return null;
    if (bytes.length > MAX_INPUT_BYTES) return 'input_too_large';
    const outcome = this.client.session.input(this.attached.attachment, bytes);
    if (outcome === 'taken') return null;
    return outcome === 'full' ? 'input_full' : outcome;
  }

  /** @param message `cols` and `rows`, 1 to 1,000 */
  resize(message: unknown): Fault | null {
    if (this.state === 'left') return null;
    const { data } = size.safeParse(message);
    if (!data) return 'invalid_parameters';
    this.client.session.resize(this.attached.attachment, { columns: data.cols, rows: data.rows });
    return null;
  }

  /** @param bytes of output that the client has processed since its last acknowledgement */
  acknowledge(bytes: unknown): Fault | null {
    if (!Number.isSafeInteger(bytes) || (bytes as number) <= 0) return 'invalid_parameters';
    return this.attached.attachment.acknowledge(bytes as number) ? null : 'invalid_ack';
  }

  takeOver(): void {
    this.client.session.takeOver(this.attached.attachment);
  }

  /** @param bytes of the client's output that have left this process */
  noteWritten(bytes: number): void {
    this.attached.attachment.noteWritten(bytes);
  }

  /** Detaches the client, and closes its connection. Further calls do nothing. */
  close(reason: CloseReason): void {
    this.finish(() => this.codec.close(reason));
  }

  /** Detaches the client. Further calls do nothing. */
  leave(): void {
    if (this.state === 'left') return;
    const wasTold = this.state === 'open';
    this.state = 'left';
    this.unwatch?.();
    this.client.leave?.();
    const { session, isNew } = this.client;
    session.detach(this.attached.attachment);
    // The client was never told of its new session, so no client can come back to it.
    if (isNew && !wasTold && session.clients === 0) void session.end('detached');
  }

  output(offset: number, bytes: Buffer): void {
    this.codec.output(offset, bytes);
  }

  role(role: TerminalRole): void {
    if (this.state === 'open') this.codec.role(role);
  }

  exit(exit: TerminalExit): void {
    const goesOn = exit.reason === 'lost' || exit.reason === 'server_stopped';
    this.finish(() => (goesOn ? this.codec.close('interrupted') : this.codec.exit(exit)));
  }

  drop(): void {
    this.close('too_slow');
  }

  private finish(tell: () => void): void {
    if (this.state === 'left') return;
    const isOpen = this.state === 'open';
    this.leave();
    if (isOpen) tell();
    else this.farewell = tell;
  }
}
