import { PassThrough } from 'node:stream';
import type { OutputTaker, ProcessRequest } from '../../port/container-process';
import type { ExecSession } from '../exec-session';
import { SessionPool } from './session-pool';

const PROGRAM = { command: ['true'] };

describe('the sessions that are opened ahead', () => {
  // Streams go by ticks.
  beforeEach(() => jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] }));
  afterEach(() => jest.useRealTimers());

  it('must be one for a container that has started, and the next one after the program that took it', async () => {
    const { pool, shells, waiting } = aMachine();
    pool.prepare('a');
    expect(await waiting()).toEqual(['a']);
    const marker = pool.reserve('a', PROGRAM) ?? '';
    const program = await pool.start({ ...PROGRAM, marker });
    expect(program?.spec.marker).toBe(marker);
    expect(await waiting(50)).toEqual([]);
    shells[0]?.end();
    expect(await waiting(10)).toEqual(['a']);
  });

  it('must be kept where a program comes before the container is prepared', async () => {
    const { pool, shells, waiting } = aMachine();
    pool.reserve('a', PROGRAM);
    await waiting(110);
    const marker = pool.reserve('a', PROGRAM) ?? '';
    await waiting(110);
    pool.prepare('a');
    expect(await waiting()).toEqual(['a', 'a']);
    expect((await pool.start({ ...PROGRAM, marker }))?.spec.marker).toBe(marker);
    expect(shells).toHaveLength(2);
  });

  it("must wait in a container without a user for as long as that takes, and be the first program's", async () => {
    const { pool, waiting } = aMachine();
    pool.keep('a');
    pool.keep('a');
    expect(await waiting()).toEqual(['a']);
    expect(await waiting(3_600_000)).toEqual(['a']);
    // It is not closed and opened again when a user gets the container.
    pool.prepare('a');
    expect(pool.reserve('a', { ...PROGRAM, env: { A: '1' } })).not.toBeNull();
    pool.unkeep('a');
    expect(await waiting(110)).toEqual(['a', 'a']);
    expect(await waiting(3_600_000)).toEqual([]);
  });

  it('must be closed in a container that a user of another process got, unless it was used since', async () => {
    const { pool, waiting } = aMachine();
    pool.keep('a');
    pool.keep('b');
    expect(await waiting()).toEqual(['a', 'b']);
    expect(pool.reserve('b', PROGRAM)).not.toBeNull();
    pool.unkeep('a');
    pool.unkeep('b');
    expect(await waiting(110)).toEqual(['b', 'b']);
    pool.unkeep('b');
    expect(await waiting()).toEqual(['b', 'b']);
  });

  it('must not take the room of others in a container without a user, and give up its own', async () => {
    const { pool, waiting } = aMachine({ memoryMb: 5 });
    pool.prepare('a');
    expect(await waiting()).toEqual(['a']);
    pool.keep('b');
    expect(await waiting(110)).toEqual(['a']);
    pool.discard('a');
    expect(await waiting()).toEqual([]);
    pool.keep('b');
    expect(await waiting()).toEqual(['b']);
    pool.prepare('a');
    expect(await waiting(110)).toEqual(['a']);
  });

  it('must be opened during a long program too', async () => {
    const { pool, waiting } = aMachine();
    pool.prepare('a');
    await waiting();
    await pool.start({ ...PROGRAM, marker: pool.reserve('a', PROGRAM) ?? '' });
    expect(await waiting(110)).toEqual(['a']);
  });

  it('must be for one program each', async () => {
    const { pool, counts, waiting } = aMachine();
    expect(pool.reserve('a', PROGRAM)).toBeNull();
    await waiting(110);
    const first = pool.reserve('a', PROGRAM);
    expect([typeof first, pool.reserve('a', PROGRAM)]).toEqual(['string', null]);
    expect(await waiting(110)).toEqual(['a', 'a']);
    expect(counts).toMatchObject({ open: 2, missed: { none: 2 } });
    expect(await pool.start({ ...PROGRAM, marker: 'another' })).toBeNull();
    expect(await pool.start({ ...PROGRAM, marker: first ?? '' })).not.toBeNull();
    expect(await pool.start({ ...PROGRAM, marker: first ?? '' })).toBeNull();
  });

  it('must be kept apart by user and terminal', async () => {
    const { pool, shells, waiting } = aMachine();
    pool.prepare('a');
    await waiting();
    expect(pool.reserve('a', { ...PROGRAM, user: '1000' })).toBeNull();
    expect(pool.reserve('a', { ...PROGRAM, terminal: true })).toBeNull();
    await waiting(110);
    expect(shells.map(({ request }) => [request.user, request.terminal])).toEqual([
      [undefined, undefined],
      ['1000', undefined],
      [undefined, true],
    ]);
  });

  it('must be cleared of those with a terminal that a process left, once', async () => {
    const { pool, killed, shells, waiting } = aMachine();
    const terminal = { ...PROGRAM, terminal: true as const };
    for (let turn = 0; turn < 3; turn += 1) {
      pool.reserve('a', terminal);
      await waiting(110);
    }
    expect(killed).toEqual(['terminals']);
    expect(shells).toHaveLength(3);
    pool.close();
    expect(shells.map(({ said }) => said)).toEqual(['\x04', '\x04', '\x04']);
  });

  it('must be closed where their variables are others, and opened with those that both have', async () => {
    const { pool, counts, shells, waiting } = aMachine();
    expect(pool.reserve('a', { ...PROGRAM, env: { A: '1', B: '1' } })).toBeNull();
    await waiting(110);
    expect(pool.reserve('a', { ...PROGRAM, env: { A: '1', B: '2' } })).toBeNull();
    expect(shells[0]?.isClosed).toBe(true);
    await waiting(110);
    expect(shells[1]?.request.env).toMatchObject({ A: '1' });
    expect(shells[1]?.request.env).not.toHaveProperty('B');
    expect(counts.missed).toEqual({ none: 1, variables: 1 });
    expect(pool.reserve('a', { ...PROGRAM, env: { A: '1', B: '3' } })).not.toBeNull();
  });

  it("must be apart for Berth's own programs only where a user's programs have variables", async () => {
    const { pool, counts, shells, waiting } = aMachine();
    const secret = { ...PROGRAM, env: { A: 'x'.repeat(300) } };
    pool.prepare('a');
    await waiting();
    expect(pool.reserve('a', PROGRAM)).toEqual(shells[0]?.request.marker);
    await waiting(110);
    expect(pool.reserve('a', { ...PROGRAM, env: {} })).toEqual(shells[1]?.request.marker);
    await waiting(110);
    expect(pool.reserve('a', secret)).toBeNull();
    await waiting(110);
    expect(pool.reserve('a', PROGRAM)).toBeNull();
    await waiting(110);
    for (let turn = 0; turn < 3; turn += 1) {
      for (const program of [secret, PROGRAM]) expect(pool.reserve('a', program)).not.toBeNull();
      await waiting(110);
    }
    expect(counts.missed).toEqual({ variables: 1, none: 1 });
  });

  it('must be opened with the variables that programs will have', async () => {
    const { pool, counts, shells, waiting } = aMachine();
    const program = { ...PROGRAM, env: { A: 'x'.repeat(300) } };
    pool.prepare('a', program.env);
    await waiting();
    expect(pool.reserve('a', program)).toBe(shells[0]?.request.marker);
    await waiting(110);
    expect(pool.reserve('a', program)).toBe(shells[1]?.request.marker);
    expect(counts.missed).toEqual({});
  });

  it('must be no more than their memory allows; the least recently used one is closed', async () => {
    const { pool, waiting } = aMachine({ memoryMb: 9 });
    for (const container of ['a', 'b']) pool.prepare(container);
    await waiting();
    // Uses the older one.
    pool.reserve('a', { ...PROGRAM, command: ['./relative'] });
    pool.prepare('c');
    expect(await waiting()).toEqual(['a', 'c']);
  });

  it('must not be opened without memory, in a container that is ending, or after the end of the server', async () => {
    const off = aMachine({ memoryMb: 0 });
    off.pool.prepare('a');
    expect(await off.waiting(1_000)).toEqual([]);
    const { pool, ending, waiting, shells } = aMachine();
    ending.add('a');
    pool.prepare('a');
    pool.prepare('b');
    expect(await waiting(1_000)).toEqual(['b']);
    pool.close();
    expect(await waiting()).toEqual([]);
    pool.prepare('c');
    expect(pool.reserve('b', PROGRAM)).toBeNull();
    await waiting(1_000);
    expect(shells).toHaveLength(1);
  });

  it('must not be opened where the container ends, or the server closes, while the opening is prepared', async () => {
    const { pool, ending, waiting, shells } = aMachine({
      passesVariables: new Promise((r) => setTimeout(r, 50, true)),
    });
    for (const container of ['a', 'b', 'c']) pool.prepare(container);
    await waiting();
    ending.add('a');
    pool.discard('b');
    expect(await waiting(100)).toEqual(['c']);
    const {
      pool: other,
      shells: none,
      waiting: later,
    } = aMachine({
      passesVariables: new Promise((r) => setTimeout(r, 50, true)),
    });
    other.prepare('a');
    await later();
    other.close();
    expect(await later(100)).toEqual([]);
    expect([shells.length, none.length]).toEqual([1, 0]);
  });

  it('must not be opened in a container with variables that a shell does not pass on', async () => {
    const { pool, waiting } = aMachine({ passesVariables: false });
    pool.prepare('a');
    expect(await waiting(1_000)).toEqual([]);
  });

  it('must be closed ten minutes after the last program, and where their program does not come', async () => {
    const { pool, counts, shells, waiting } = aMachine();
    pool.prepare('a');
    await waiting();
    pool.reserve('a', PROGRAM);
    await waiting(9_000);
    expect(shells.map(({ isClosed }) => isClosed)).toEqual([false, false]);
    await waiting(2_000);
    expect(shells.map(({ isClosed }) => isClosed)).toEqual([true, false]);
    expect(await waiting(9 * 60_000)).toEqual(['a']);
    expect(await waiting(2 * 60_000)).toEqual([]);
    expect(counts.open).toBe(0);
  });

  it('must be tried again only after a while where none can be opened', async () => {
    const { pool, shells, waiting } = aMachine({ shell: 'none' });
    pool.prepare('a');
    await waiting();
    for (let turn = 0; turn < 5; turn += 1) {
      expect(pool.reserve('a', PROGRAM)).toBeNull();
      await waiting(1_000);
    }
    expect(shells).toHaveLength(1);
    await waiting(6_000);
    pool.reserve('a', PROGRAM);
    await waiting(1_000);
    expect(shells).toHaveLength(2);
  });

  it('must have become the program also if that has written much by then', async () => {
    const { pool, shells, waiting } = aMachine();
    pool.prepare('a');
    await waiting();
    Object.assign(shells[0] ?? {}, { atOnce: 'x'.repeat(100_000) });
    const program = await pool.start({ ...PROGRAM, marker: pool.reserve('a', PROGRAM) ?? '' });
    let written = 0;
    program?.output.flowTo?.({ take: ({ data }) => void (written += data.length), over: () => undefined });
    expect([written, shells[0]?.isClosed]).toEqual([100_000, false]);
  });

  it('must be killed before the next one where they may have outlived their connection', async () => {
    const { pool, killed, shells, waiting } = aMachine();
    pool.prepare('a');
    await waiting();
    shells[0]?.breakOff();
    expect(await waiting()).toEqual([]);
    pool.reserve('a', PROGRAM);
    expect(await waiting(110)).toEqual(['a']);
    expect(killed).toEqual([shells[0]?.request.marker]);
  });
});

/** A session's shell, as Docker connects it. */
class Shell {
  readonly stdin = new PassThrough();
  isClosed = false;
  isWhole = true;
  /** What it was told. */
  said = '';
  /** What its program writes at once, so that it comes together with the signal. */
  atOnce = '';
  private taker: OutputTaker | undefined;
  private readonly listeners: (() => void)[] = [];

  constructor(
    readonly dockerId: string,
    readonly request: ProcessRequest,
    private readonly answers: boolean,
  ) {
    this.stdin.on('data', (data: Buffer) => {
      this.said += data.toString();
      this.say(`${this.token}\n${this.atOnce}`);
    });
  }

  readonly output = {
    flowTo: (taker: OutputTaker) => {
      this.taker = taker;
      if (this.answers) this.say(`${this.token} ready\n`);
      else queueMicrotask(() => this.end());
      return { pause: () => undefined, resume: () => undefined };
    },
  };

  get isWaiting(): boolean {
    return !this.isClosed && this.stdin.writable;
  }

  onClosed(listener: () => void): void {
    this.listeners.push(listener);
  }

  readonly watch = (): void => undefined;

  isGone(): Promise<boolean> {
    return Promise.resolve(this.isWhole);
  }

  close(): void {
    this.end();
  }

  end(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.taker?.over();
    for (const listener of this.listeners) listener();
  }

  breakOff(): void {
    this.isWhole = false;
    this.end();
  }

  private get token(): string {
    return this.request.command[3] ?? '';
  }

  private say(words: string): void {
    this.taker?.take({ stream: 'stderr', data: Buffer.from(words) });
  }
}

interface Machine {
  readonly memoryMb?: number;
  readonly passesVariables?: boolean | Promise<boolean>;
  readonly shell?: 'sh' | 'none';
}

function aMachine({ memoryMb = 100, passesVariables = true, shell = 'sh' }: Machine = {}) {
  const shells: Shell[] = [];
  const killed: string[] = [];
  const ending = new Set<string>();
  const counts = { open: 0, taken: 0, missed: {} as Record<string, number> };
  const pool = new SessionPool(
    { memoryMb, scripts: { pipes: [], terminal: [] } },
    {
      open: (dockerId, request) => {
        const each = new Shell(dockerId, request, shell === 'sh');
        shells.push(each);
        return Promise.resolve(each as unknown as ExecSession);
      },
      endTerminals: () => Promise.resolve(void killed.push('terminals')),
      kill: (_dockerId, marker) => Promise.resolve(void killed.push(marker)),
      passesVariables: () => Promise.resolve(passesVariables),
      isEnding: (dockerId) => ending.has(dockerId),
    },
    counts,
  );
  /** @returns the containers of the sessions that wait for a program after some time, in ms */
  const waiting = async (ms = 1): Promise<string[]> => {
    await jest.advanceTimersByTimeAsync(ms);
    await new Promise(setImmediate);
    await jest.advanceTimersByTimeAsync(0);
    return shells.filter(({ isWaiting }) => isWaiting).map(({ dockerId }) => dockerId);
  };
  return { pool, shells, killed, ending, counts, waiting };
}
