import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import type { PseudoTtyInfo, ServerChannel, Session } from 'ssh2';
import { notedBytes } from '../audit';
import { faultOfEnvironment } from '../containers';
import { LOGIN_SHELL, type SignalName, SIGNALS, type TerminalSize } from '../engine';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import {
  type CloseReason,
  Commands,
  FilesService,
  MAX_INPUT_BYTES,
  type TerminalCodec,
  TerminalConnection,
  type TerminalExit,
  Terminals,
} from '../sandbox';
import { MalformedPacket } from './sftp/sftp-protocol';
import { type SftpChannel, SftpServer, type UseFiles } from './sftp/sftp-server';
import { ChannelOutput, type SshConnection, SshWork } from './ssh-work';

/** The exit code where nothing was run, or its exit code is not known: that of `ssh` itself for its own errors. */
const NOT_RUN = 255;

/** A command may take as long as the longest of the API's. */
const COMMAND_MS = 24 * 3600 * 1000;

/** As in the API. */
const MOST_COMMAND_BYTES = 64 * 1024;
const LONGEST_SIDE = 1_000;

/** A terminal's client that reads nothing for this long is given up, like one that is away. */
const STALL_MS = 5 * 60_000;

/** How long a terminal whose shell does not read its input is left alone. */
const INPUT_PAUSE_MS = 20;

const TERM = /^[A-Za-z0-9][A-Za-z0-9+._-]{0,63}$/;

/** Runs a command line as `sshd` does, by the user's shell: bash if the image has it. */
const COMMAND_SCRIPT = `
: "\${LANG:=C.UTF-8}"
export LANG
[ ! -x /bin/bash ] || exec /bin/bash -c "$1"
exec /bin/sh -c "$1"
`;

/** What a client has asked for, before it starts anything. */
interface Asked {
  readonly env: Record<string, string>;
  pty: { readonly term: string; size: TerminalSize } | null;
}

/** What a client may do to what runs. */
interface Running {
  resize(size: TerminalSize): void;
  signal(name: SignalName): void;
}

/** The end of a channel of a session, for its client. */
interface Channel {
  readonly channel: ServerChannel;
  readonly output: ChannelOutput;
  /** Aborted when the channel, or its connection, has ended. */
  readonly over: AbortSignal;
}

/** Serves the sessions of SSH: shells, commands and SFTP, by the services of the API's routes. */
@Injectable()
export class SshSessions {
  constructor(
    private readonly work: SshWork,
    private readonly terminals: Terminals,
    private readonly commands: Commands,
    private readonly files: FilesService,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Serves a session that the client has opened. @param onEnd called once when it is over */
  serve(session: Session, client: SshConnection, onEnd: () => void): void {
    const asked: Asked = { env: {}, pty: null };
    const closed = new AbortController();
    let running: Running = { resize: () => undefined, signal: () => undefined };
    const over = AbortSignal.any([closed.signal, client.over]);
    over.addEventListener('abort', onEnd, { once: true });
    // A channel whose input is not read never emits `close`; the session does.
    session.on('close', () => closed.abort(gone()));
    session.on('env', (accept, reject, { key, val }) => {
      if (faultOfEnvironment({ ...asked.env, [key]: val }) !== null) answer(reject);
      else {
        asked.env[key] = val;
        answer(accept);
      }
    });
    session.on('pty', (accept, reject, info) => {
      asked.pty = ptyOf(info);
      answer(asked.pty ? accept : reject);
    });
    session.on('window-change', (accept, reject, info) => {
      const size = sizeOf(info);
      if (size && asked.pty) asked.pty.size = size;
      if (size) running.resize(size);
      answer(size ? accept : reject);
    });
    session.on('signal', (accept, reject, { name }) => {
      const known = SIGNALS.find((each) => each === name.replace(/^SIG/, ''));
      if (known) running.signal(known);
      answer(known ? accept : reject);
    });
    const run = (accept: () => ServerChannel, command?: string): void => {
      const own = openChannel(accept, client, over);
      const runs = (started: Running): void => void (running = started);
      const ran = asked.pty
        ? this.runTerminal(own, client, { ...asked, pty: asked.pty, command, runs })
        : this.runCommand(own, client, { ...asked, command, runs });
      void this.untilEnd(own, ran);
    };
    session.on('shell', (accept) => run(accept));
    session.on('exec', (accept, reject, { command }) => {
      if (Buffer.byteLength(command) > MOST_COMMAND_BYTES || command.includes('\0')) reject();
      else run(accept, command);
    });
    session.on('subsystem', (accept, reject, { name }) => {
      if (name !== 'sftp') {
        answer(reject);
        return;
      }
      const own = openChannel(accept, client, over);
      void this.untilEnd(own, this.runSftp(own, client));
    });
  }

  private async runCommand(
    { channel, output, over }: Channel,
    client: SshConnection,
    { env, command, runs }: Pick<Asked, 'env'> & { command: string | undefined; runs: (running: Running) => void },
  ): Promise<number> {
    const request = {
      command: commandOf(command),
      env,
      stdin: channel,
      timeoutMs: COMMAND_MS,
      maxOutputBytes: Infinity,
    };
    const reader = {
      signal: over,
      onSignals: (send: (name: SignalName) => Promise<void>) =>
        runs({ resize: () => undefined, signal: (name) => void send(name).catch(() => undefined) }),
      onOutput: ({ stream, data }: { stream: 'stdout' | 'stderr'; data: Buffer }) => output.write(stream, data),
    };
    const end = await this.work.during(client, { action: 'container.exec', kind: 'command' }, (id) =>
      this.commands.run(client.principal, id, request, reader),
    );
    if (end.timedOut) await say(output, 'the session was closed: the time limit was reached');
    return end.exitCode ?? NOT_RUN;
  }

  /** A terminal of SSH ends with its channel, unless a client of the API has attached to it as well. */
  private async runTerminal(
    own: Channel,
    client: SshConnection,
    asked: Asked & {
      pty: NonNullable<Asked['pty']>;
      command: string | undefined;
      runs: (running: Running) => void;
    },
  ): Promise<number> {
    const { principal } = client;
    const program = {
      command: asked.command === undefined ? undefined : commandOf(asked.command),
      env: { ...asked.env, TERM: asked.pty.term },
    };
    const codec = new ChannelCodec(own);
    const { session, connection } = await this.work.during(
      client,
      { action: 'container.terminal', kind: 'terminal' },
      async (id) => {
        const opened = await this.terminals.open(principal, id, program);
        const attach = { size: asked.pty.size, stallMs: STALL_MS };
        const admitted = { session: opened, isNew: true, attach };
        return { session: opened, connection: new TerminalConnection(admitted, codec) };
      },
    );
    codec.begin(connection);
    const leave = (): void => {
      connection.leave();
      // The server ends: the terminal goes on.
      if (!this.work.isDraining) this.terminals.leave(session);
    };
    if (own.over.aborted) leave();
    else own.over.addEventListener('abort', leave, { once: true });
    const keys: Partial<Record<SignalName, string>> = { INT: '\x03', QUIT: '\x1c' };
    asked.runs({
      resize: ({ columns, rows }) => void connection.resize({ cols: columns, rows }),
      signal: (name) => {
        const key = keys[name];
        if (key !== undefined) connection.input(Buffer.from(key));
        else if (name === 'HUP' || name === 'TERM' || name === 'KILL') void session.end('ended');
      },
    });
    void type(own, connection);
    const { code, reason, detail } = await codec.ended;
    if (reason === 'exited') return code ?? NOT_RUN;
    if (reason === 'server_stopped') {
      const note = `the server is shutting down; the terminal keeps running: berth sh ${client.container} --attach ${session.id}`;
      await own.output.write('stdout', Buffer.from(`\r\nberth: ${note}\r\n`));
      return NOT_RUN;
    }
    const words = [reason.replaceAll('_', ' '), detail].filter((word) => word !== undefined).join(': ');
    await own.output.write('stdout', Buffer.from(`\r\nberth: the terminal has ended: ${words}\r\n`));
    return code ?? NOT_RUN;
  }

  private async runSftp({ channel, output, over }: Channel, client: SshConnection): Promise<number> {
    await this.work.during(client, { action: 'container.sftp', kind: 'sftp' }, async (id) => {
      const call = { caller: client.principal, id, gone: over };
      const use: UseFiles = (work) => this.files.use(call, work);
      const server = new SftpServer(new PacketChannel(channel, output, over), use, {
        sizeLimit: await this.files.sizeLimit(call),
        onBytes: notedBytes(),
        // OpenSSH's clients show no sentence of an answer, but they show this.
        onTooLarge: (limit) => void say(output, `the file is larger than the limit of ${String(limit)} bytes`),
      });
      // Says at once why files cannot be had.
      await use((files, inside) => files.stat(inside, Buffer.from('/'), { follow: true }));
      await server.run();
    });
    return 0;
  }

  /** Tells the client how it ended. Never throws. */
  private async untilEnd({ channel, output, over }: Channel, work: Promise<number>): Promise<void> {
    let code = NOT_RUN;
    try {
      code = await work;
    } catch (error) {
      const isExpected = error instanceof DomainError || error instanceof MalformedPacket || over.aborted;
      if (!isExpected) this.logger.warn({ err: error }, 'a session of SSH could not be served');
      await say(output, isExpected ? sentenceOf(error) : 'internal error');
    }
    if (over.aborted) return;
    if (channel.writable) channel.exit(code);
    channel.end();
  }
}

/** @returns null for a terminal that no program could use */
function ptyOf({ term, ...size }: PseudoTtyInfo): Asked['pty'] {
  const usual = { columns: 80, rows: 24 };
  return { term: TERM.test(term) ? term : 'xterm-256color', size: sizeOf(size) ?? usual };
}

function sizeOf({ cols, rows }: { cols: number; rows: number }): TerminalSize | null {
  const isSide = (side: number): boolean => side >= 1 && side <= LONGEST_SIDE;
  return isSide(cols) && isSide(rows) ? { columns: cols, rows } : null;
}

/** `ssh2` passes a function only where the client wants an answer. */
function answer(how: (() => void) | undefined): void {
  how?.();
}

function openChannel(accept: () => ServerChannel, { bounds }: SshConnection, over: AbortSignal): Channel {
  const channel = accept();
  over.addEventListener('abort', bounds.addChannel(channel), { once: true });
  channel.on('error', () => undefined);
  channel.stderr.on('error', () => undefined);
  return { channel, output: new ChannelOutput(channel, bounds, over), over };
}

/** The login shell, or a command line, which a shell reads. */
function commandOf(command: string | undefined): readonly string[] {
  return command === undefined ? LOGIN_SHELL : ['/bin/sh', '-c', COMMAND_SCRIPT, 'sh', command];
}

/** This error only reaches the audit: the client that would read it is gone. */
function gone(): DomainError {
  return new DomainError('request_timeout', { code: 'client_gone' });
}

function say(output: ChannelOutput, words: string): Promise<void> {
  return output.write('stderr', Buffer.from(`berth: ${words}\n`));
}

function sentenceOf(error: unknown): string {
  if (!(error instanceof Error)) return 'internal error';
  const isStopped = error instanceof DomainError && error.kind === 'container_not_running';
  return isStopped ? `${error.message}: start it with the API, the console or \`berth start\`` : error.message;
}

/** Passes on what the client types, as fast as the shell reads it. */
async function type({ channel, over }: Channel, connection: TerminalConnection): Promise<void> {
  try {
    // The end of the input does not end the terminal.
    for await (const chunk of channel.iterator({ destroyOnReturn: false })) {
      const data = chunk as Buffer;
      for (let at = 0; at < data.length; at += MAX_INPUT_BYTES) {
        const piece = data.subarray(at, at + MAX_INPUT_BYTES);
        while (connection.input(piece) === 'input_full') await delay(INPUT_PAUSE_MS, undefined, { signal: over });
      }
    }
  } catch {
    // The channel is over.
  }
}

/** Sends a terminal's output to a channel. */
class ChannelCodec implements TerminalCodec {
  readonly ended: Promise<TerminalExit>;
  private connection: TerminalConnection | null = null;
  private finish: (exit: TerminalExit) => void = () => undefined;

  constructor(private readonly own: Channel) {
    this.ended = new Promise((resolve) => (this.finish = resolve));
    own.over.addEventListener('abort', () => this.finish({ code: null, reason: 'detached' }), { once: true });
  }

  begin(connection: TerminalConnection): void {
    this.connection = connection;
    connection.open();
  }

  attached(): void {
    // The client knows what it has asked for.
  }

  output(_offset: number, bytes: Buffer): void {
    // SSH has a window of its own: what the client had room for counts as acknowledged.
    void this.own.output.write('stdout', bytes).then(() => {
      this.connection?.acknowledge(bytes.length);
      this.connection?.noteWritten(bytes.length);
    });
  }

  role(): void {
    // Another client writes; this one watches.
  }

  exit(exit: TerminalExit): void {
    this.finish(exit);
  }

  close(reason: CloseReason): void {
    this.finish({ code: null, reason: reason === 'interrupted' ? 'server_stopped' : 'lost' });
  }
}

/** The packets of an SFTP session, on its channel. */
class PacketChannel implements SftpChannel {
  private wake = (): void => undefined;

  constructor(
    private readonly channel: ServerChannel,
    private readonly out: ChannelOutput,
    private readonly over: AbortSignal,
  ) {
    const wake = (): void => this.wake();
    channel.on('readable', wake).on('end', wake);
    over.addEventListener('abort', wake, { once: true });
  }

  readNow(): Buffer | null {
    return this.channel.read() as Buffer | null;
  }

  async arrives(): Promise<boolean> {
    if (this.channel.readableLength === 0 && !this.isEnded) {
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return !this.over.aborted && (this.channel.readableLength > 0 || !this.isEnded);
  }

  write(data: Buffer): Promise<void> {
    return this.out.write('stdout', data);
  }

  private get isEnded(): boolean {
    return this.over.aborted || this.channel.readableEnded;
  }
}
