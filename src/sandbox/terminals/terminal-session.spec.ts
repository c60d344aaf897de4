import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { eventually } from '../../../test/support/eventually';
import { type ContainerProcess, EngineError, type ExecOutput } from '../../engine';
import {
  type Attachment,
  FRAME_BYTES,
  type TerminalExit,
  type TerminalOutlet,
  WINDOW_BYTES,
  OutputTurns,
} from './attachment';
import { MAX_CLIENTS, MAX_INPUT_WAITING, RING_BYTES, TerminalSession, UNWATCHED_PAUSE_MS } from './terminal-session';

const SIZE = { columns: 80, rows: 24 };

/** A shell that says what a test has it say, as far as it is read. */
class Shell implements ContainerProcess {
  readonly id = 'shell';
  readonly pid = 2;
  readonly startedAt = 0;
  readonly output: AsyncIterable<ExecOutput>;
  readonly stdin = new PassThrough({ highWaterMark: 1 });
  readonly sizes: string[] = [];
  exitCode: number | EngineError = 0;
  taken = 0;
  closed = false;
  private pending: Buffer[] = [];
  private isOver = false;
  private wake = (): void => undefined;

  constructor(
    readonly from = 0,
    readonly to = from,
  ) {
    this.output = this.read();
  }

  say(text: string | Buffer): void {
    this.pending.push(Buffer.from(text));
    this.wake();
  }

  end(exitCode: number | EngineError = 0): void {
    this.exitCode = exitCode;
    this.isOver = true;
    this.wake();
  }

  resize({ columns, rows }: { columns: number; rows: number }): Promise<void> {
    this.sizes.push(`${String(columns)}x${String(rows)}`);
    return Promise.resolve();
  }

  exit(): Promise<{ exitCode: number }> {
    const { exitCode } = this;
    return typeof exitCode === 'number' ? Promise.resolve({ exitCode }) : Promise.reject(exitCode);
  }

  close(): void {
    this.closed = true;
    this.end(this.exitCode);
  }

  private async *read(): AsyncGenerator<ExecOutput> {
    for (;;) {
      const data = this.pending.shift();
      if (data) {
        this.taken += data.length;
        yield { stream: 'stdout', data };
      } else if (this.isOver) return;
      else await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}

/** A client that keeps what it is sent and acknowledges nothing by itself. Its transport takes what it is given. */
class Client implements TerminalOutlet {
  attachment: Attachment | null = null;
  takes = true;
  readonly chunks: { offset: number; bytes: Buffer }[] = [];
  readonly roles: string[] = [];
  exited: TerminalExit | null = null;
  dropped = false;
  onOutput = (bytes: Buffer): void => void bytes;

  get text(): string {
    return Buffer.concat(this.chunks.map(({ bytes }) => bytes)).toString();
  }

  get bytes(): number {
    return this.chunks.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  output(offset: number, bytes: Buffer): void {
    this.chunks.push({ offset, bytes });
    if (this.takes) setImmediate(() => this.attachment?.noteWritten(bytes.length));
    this.onOutput(bytes);
  }

  role(role: string): void {
    this.roles.push(role);
  }

  exit(exit: TerminalExit): void {
    this.exited = exit;
  }

  drop(): void {
    this.dropped = true;
  }
}

const doing = {
  turns: new OutputTurns(),
  hangUp: jest.fn(() => Promise.resolve()),
  explain: jest.fn((seen: 'exited' | 'container_stopped' | 'lost') => Promise.resolve({ reason: seen })),
  onUnattended: jest.fn(),
  onWriter: jest.fn(),
  onUse: jest.fn(),
  onError: jest.fn(),
};

const facts = { id: 's', containerId: 'c', userId: 'u', engineId: 'd', startedAt: new Date() };

let shell: Shell;
let session: TerminalSession;

function open(times: ConstructorParameters<typeof TerminalSession>[3] = {}, [from, to]: readonly number[] = []): void {
  shell = new Shell(from, to);
  session = new TerminalSession(facts, shell, doing, times);
}

beforeEach(() => {
  jest.clearAllMocks();
  open();
});

afterEach(async () => {
  shell.end();
  await session.end('ended');
});

function attach(options: { after?: number; takeover?: boolean } = {}) {
  const client = new Client();
  const attached = session.attach(client, { size: SIZE, ...options });
  client.attachment = attached.attachment;
  session.begin(attached.attachment);
  return { client, ...attached };
}

/** Until nothing more is taken from the shell. */
async function settled(): Promise<void> {
  for (let last = -1; last !== shell.taken;) {
    last = shell.taken;
    for (let each = 0; each < 20; each += 1) await turn();
  }
}

const KB = Buffer.alloc(1024, 'x');
const flood = (kilobytes: number): void => {
  for (let each = 0; each < kilobytes; each += 1) shell.say(KB);
};

describe('the output of a terminal', () => {
  it('must come in order, at its offsets', async () => {
    const { client, offset, gap } = attach();
    shell.say('one ');
    shell.say('two');
    await eventually(() => expect(client.text).toBe('one two'));
    expect([offset, gap]).toEqual([0, false]);
    expect(client.chunks.map((chunk) => chunk.offset)).toEqual([0, 4]);
  });

  it('must wait for a writer that does not acknowledge, and go on as it does', async () => {
    const { client, attachment } = attach();
    flood(1024);
    await eventually(() => expect(client.bytes).toBe(WINDOW_BYTES));
    await settled();
    expect(shell.taken).toBeLessThanOrEqual(WINDOW_BYTES + KB.length);
    attachment.acknowledge(100 * 1024);
    await eventually(() => expect(client.bytes).toBe(WINDOW_BYTES + 100 * 1024));
    await settled();
    expect(client.bytes).toBe(WINDOW_BYTES + 100 * 1024);
    client.onOutput = ({ length }) => setImmediate(() => attachment.acknowledge(length));
    attachment.acknowledge(WINDOW_BYTES);
    await eventually(() => expect(client.bytes).toBe(1024 * 1024));
  });

  it('must refuse an acknowledgement of more than was sent, and send no more for it', async () => {
    const { client, attachment } = attach();
    expect(attachment.acknowledge(1)).toBe(false);
    flood(1024);
    await eventually(() => expect(client.bytes).toBe(WINDOW_BYTES));
    for (const bytes of [WINDOW_BYTES + 1, Number.MAX_SAFE_INTEGER]) expect(attachment.acknowledge(bytes)).toBe(false);
    await settled();
    expect(client.bytes).toBe(WINDOW_BYTES);
    expect(attachment.acknowledge(1024)).toBe(true);
    await eventually(() => expect(client.bytes).toBe(WINDOW_BYTES + 1024));
    expect(attachment.acknowledge(WINDOW_BYTES + 1)).toBe(false);
  });

  it('must wait for a transport that holds it, whatever the client acknowledges, and then drop the client', async () => {
    open({ stallMs: 300 });
    const { client, attachment } = attach();
    client.takes = false;
    client.onOutput = ({ length }) => setImmediate(() => attachment.acknowledge(length));
    flood(1024);
    await eventually(() => expect(client.bytes).toBe(WINDOW_BYTES));
    await settled();
    expect(client.bytes).toBe(WINDOW_BYTES);
    expect(shell.taken).toBeLessThanOrEqual(WINDOW_BYTES + KB.length);
    attachment.noteWritten(100 * 1024);
    await eventually(() => expect(client.bytes).toBe(WINDOW_BYTES + 100 * 1024));
    await eventually(() => expect(client.dropped).toBe(true));
  });

  it('must be acknowledged by a client that comes back, up to a window that its earlier connection brought', async () => {
    const first = attach();
    shell.say(Buffer.alloc(1000, 'x'));
    await eventually(() => expect(first.client.bytes).toBe(1000));
    session.detach(first.attachment);
    const again = attach({ after: 1000 });
    expect(again.attachment.acknowledge(600)).toBe(true);
    expect(again.attachment.acknowledge(401)).toBe(false);
    expect(again.attachment.acknowledge(400)).toBe(true);
    expect(again.attachment.acknowledge(1)).toBe(false);
  });

  it('must come at once after a pause, and in large frames while it floods', async () => {
    const { client, attachment } = attach();
    client.onOutput = ({ length }) => setImmediate(() => attachment.acknowledge(length));
    shell.say('k');
    await settled();
    expect(client.text).toBe('k');
    flood(1024);
    await eventually(() => expect(client.bytes).toBe(1024 * 1024 + 1));
    expect(Math.max(...client.chunks.map(({ bytes }) => bytes.length))).toBe(FRAME_BYTES);
    expect(client.chunks.length).toBeLessThan(128);
  });

  it('must not wait for a watcher, which then misses some of it, as its offsets say', async () => {
    const { client, attachment } = attach();
    client.onOutput = ({ length }) => setImmediate(() => attachment.acknowledge(length));
    const watching = attach();
    flood(1024);
    await eventually(() => expect(shell.taken).toBe(1024 * 1024));
    await eventually(() => expect(watching.client.bytes).toBe(WINDOW_BYTES));
    watching.attachment.acknowledge(WINDOW_BYTES);
    const next = (): number => watching.client.chunks.find(({ offset }) => offset > WINDOW_BYTES)?.offset ?? 0;
    await eventually(() => expect(next()).toBeGreaterThanOrEqual(1024 * 1024 - RING_BYTES - 32 * 1024));
  });

  it('must be dropped by a client that makes no progress, which is detached, and lets the rest go on', async () => {
    open({ stallMs: 30 });
    const { client } = attach();
    const watching = attach();
    flood(512);
    await eventually(() => expect([client.dropped, watching.client.dropped]).toEqual([true, true]));
    expect(session.clients).toBe(0);
    await eventually(() => expect(shell.taken).toBe(512 * 1024));
  });

  it('must be read slowly while nobody writes, and not be lost from the ring', async () => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    flood(1024);
    await settled();
    for (const kib of [256, 512, 768, 1024]) {
      expect(shell.taken).toBe(kib * 1024);
      await jest.advanceTimersByTimeAsync(UNWATCHED_PAUSE_MS);
      await settled();
    }
    jest.useRealTimers();
    const { client, offset, gap } = attach();
    expect(gap).toBe(true);
    await eventually(() => expect(offset + client.bytes).toBe(1024 * 1024));
    expect(client.bytes).toBeGreaterThanOrEqual(WINDOW_BYTES);
  });

  it('must be replayed from where a client says, and then drawn anew', async () => {
    const first = attach();
    shell.say('abcdef');
    await eventually(() => expect(first.client.text).toBe('abcdef'));
    session.detach(first.attachment);
    shell.say('ghi');
    await settled();
    const again = attach({ after: 4 });
    expect([again.offset, again.gap, again.client.text]).toEqual([4, false, 'efghi']);
    await settled();
    expect(shell.sizes).toEqual(['80x24', '80x23', '80x24']);
    expect(() => attach({ after: 10 })).toThrow('invalid parameters');
  });

  it('must not be sent before the client knows that it is attached', async () => {
    const client = new Client();
    const { attachment } = session.attach(client, { size: SIZE });
    shell.say('early');
    await settled();
    expect(client.chunks).toEqual([]);
    session.begin(attachment);
    expect(client.text).toBe('early');
  });
});

describe('who writes', () => {
  /** Waits until the shell's first prompt is over. */
  async function prompted(): Promise<void> {
    shell.say('$ ');
    await eventually(() => expect(shell.stdin.writableCorked).toBe(0));
  }

  it('must be heard once the shell has said something, and then nothing for a moment', async () => {
    const { attachment } = attach();
    await settled();
    expect(session.input(attachment, Buffer.from('\u0003'))).toBe('taken');
    await settled();
    shell.say('a banner\n');
    await settled();
    expect(shell.stdin.read()).toBeNull();
    await prompted();
    expect(String(shell.stdin.read())).toBe('\u0003');
  });

  it('must be heard after a moment where the shell says nothing', async () => {
    const { attachment } = attach();
    session.input(attachment, Buffer.from('ls'));
    await eventually(() => expect(String(shell.stdin.read())).toBe('ls'));
  });

  it('must be the first, until somebody takes over, who may be anybody', async () => {
    const one = attach();
    const two = attach();
    expect([one.attachment.role, two.attachment.role]).toEqual(['writer', 'watcher']);
    expect(session.input(two.attachment, Buffer.from('no'))).toBe('not_writer');
    session.resize(two.attachment, { columns: 10, rows: 10 });
    const three = attach({ takeover: true });
    await prompted();
    expect([one.client.roles, three.attachment.role]).toEqual([['watcher'], 'writer']);
    expect(session.input(one.attachment, Buffer.from('no'))).toBe('not_writer');
    session.takeOver(two.attachment);
    expect([two.client.roles, three.client.roles]).toEqual([['writer'], ['watcher']]);
    expect(session.input(two.attachment, Buffer.from('yes'))).toBe('taken');
    await settled();
    expect(shell.sizes.at(-1)).toBe('10x10');
    expect(String(shell.stdin.read())).toBe('yes');
  });

  it('must find the size as it was set before it typed', async () => {
    const { attachment } = attach();
    await prompted();
    let resized = (): void => undefined;
    shell.resize = () => new Promise<void>((resolve) => (resized = resolve));
    session.resize(attachment, { columns: 10, rows: 10 });
    session.input(attachment, Buffer.from('stty size'));
    await settled();
    expect(shell.stdin.read()).toBeNull();
    resized();
    await settled();
    expect(String(shell.stdin.read())).toBe('stty size');
  });

  it('must not become another by leaving; the next who comes writes', () => {
    const one = attach();
    const two = attach();
    session.detach(one.attachment);
    expect(two.attachment.role).toBe('watcher');
    expect(attach().attachment.role).toBe('writer');
  });

  it('must be refused what the shell does not read, beyond a bound', () => {
    const { attachment } = attach();
    const much = Buffer.alloc(16 * 1024);
    let taken = 0;
    while (session.input(attachment, much) === 'taken') taken += much.length;
    expect(taken).toBeLessThanOrEqual(MAX_INPUT_WAITING + much.length);
    expect(taken).toBeGreaterThan(MAX_INPUT_WAITING / 2);
  });
});

describe('the end of a terminal', () => {
  it('must be told after all of the output, with the code', async () => {
    const { client, attachment } = attach();
    flood(300);
    shell.end(7);
    await eventually(() => expect(client.bytes).toBe(WINDOW_BYTES));
    expect(client.exited).toBeNull();
    attachment.acknowledge(WINDOW_BYTES);
    await eventually(() => expect(client.exited).toEqual({ code: 7, reason: 'exited' }));
    expect(client.bytes).toBe(300 * 1024);
    expect(() => attach()).toThrow('terminal not found');
  });

  it('must be told with its reason where the container ended', async () => {
    const { client } = attach();
    shell.end(new EngineError('container_not_running', 'gone'));
    await eventually(() => expect(client.exited).toEqual({ code: null, reason: 'container_stopped' }));
  });

  it.each([130, 148, 255])(
    'must be told at once where the shell exits with %i, as no container has ended',
    async (code) => {
      const { client } = attach();
      shell.exit = jest.fn(() => Promise.resolve({ exitCode: code }));
      shell.end();
      await eventually(() => expect(client.exited).toEqual({ code, reason: 'exited' }));
      expect([doing.explain, shell.exit].map((each) => jest.mocked(each).mock.calls.length)).toEqual([0, 1]);
    },
  );

  it('must be told as asked for, also while the reason of an earlier end is still sought', async () => {
    const { client } = attach();
    doing.explain.mockReturnValueOnce(new Promise(() => undefined));
    shell.end(new EngineError('container_not_running', 'gone'));
    await eventually(() => expect(doing.explain).toHaveBeenCalled());
    await session.end('ended');
    expect(client.exited).toEqual({ code: null, reason: 'ended' });
  });

  it('must come by the API too where Docker does not answer', async () => {
    const { client } = attach();
    doing.hangUp.mockRejectedValueOnce(new EngineError('docker_unavailable', 'no answer'));
    flood(512);
    await session.end('ended');
    expect(client.exited).toEqual({ code: null, reason: 'ended' });
    expect(doing.onError).toHaveBeenCalledTimes(1);
  });

  it('must not be held up by any number of clients, which is bounded', () => {
    for (let each = 0; each < MAX_CLIENTS; each += 1) attach();
    expect(() => attach()).toThrow('too many connections');
  });
});

describe('a session of a shell that goes on', () => {
  it('must replay what the shell had written, and begin at its offset', async () => {
    open({}, [1_000, 1_005]);
    let isReplayed = false;
    void session.replayed.then(() => (isReplayed = true));
    await settled();
    expect(isReplayed).toBe(false);
    shell.say('12345');
    await session.replayed;
    const { client, offset, gap } = attach({ after: 1_002 });
    expect([offset, gap]).toEqual([1_002, false]);
    shell.say('67');
    await eventually(() => expect(client.text).toBe('34567'));
  });

  it('must tell its owner once the last client has gone, and end without an end of the shell', async () => {
    const { client, attachment } = attach();
    const other = attach();
    session.detach(attachment);
    expect(doing.onUnattended).not.toHaveBeenCalled();
    session.detach(other.attachment);
    expect(doing.onUnattended).toHaveBeenCalledTimes(1);
    session.release('unattended');
    expect(await session.ended).toBeNull();
    await session.end('ended');
    expect([doing.hangUp.mock.calls.length, shell.closed, client.exited]).toEqual([0, true, null]);
    expect(() => attach()).toThrow('terminal not found');
  });

  it('must let its clients come back where the server ends, or the connection to the sandbox breaks', async () => {
    const { client } = attach();
    session.release('server_stopped');
    expect(await session.ended).toBeNull();
    expect(client.exited).toEqual({ code: null, reason: 'server_stopped' });
    open();
    const other = attach();
    shell.end(new EngineError('docker_unavailable', 'gone'));
    expect(await session.ended).toBeNull();
    expect(other.client.exited).toEqual({ code: null, reason: 'lost' });
  });

  it('must have no writer beside one of another server process', () => {
    open({ isHeldElsewhere: true });
    expect(attach().attachment.role).toBe('watcher');
    const { client, attachment } = attach({ takeover: true });
    expect([attachment.role, doing.onWriter.mock.calls.length]).toEqual(['writer', 1]);
    session.yieldWriter();
    expect([attachment.role, client.roles]).toEqual(['watcher', ['watcher']]);
    expect(attach().attachment.role).toBe('watcher');
  });
});
