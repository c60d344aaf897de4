import type Docker from 'dockerode';
import { PassThrough } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import type { ExecCall } from './exec-calls';
import { ExecSession } from './exec-session';
import { OpenSessions } from './docker-programs';

interface State {
  readonly Running: boolean;
  readonly StartedAt: string;
}

/** A container whose command never ends by its stream, as under Docker 20.10 with gVisor of 2022. */
function containerThatIs(states: readonly State[]): Docker.Container {
  const left = [...states];
  const command = {
    start: () => Promise.resolve(new PassThrough()),
    inspect: () => Promise.resolve({ Running: true, ExitCode: null, Pid: 7 }),
  };
  const container = {
    exec: () => Promise.resolve(command),
    inspect: () => Promise.resolve({ State: left.length > 1 ? left.shift() : left[0] }),
  };
  return container as unknown as Docker.Container;
}

async function run(states: readonly State[]): Promise<unknown> {
  const session = await ExecSession.open(containerThatIs(states), { command: ['sleep'] }, { call, lookAfterMs: 1 });
  for await (const output of session.output) void output;
  return session.exit();
}

const running = { Running: true, StartedAt: '2026-01-01T00:00:00Z' };
const call: ExecCall = (work) => work(AbortSignal.timeout(60_000));

/** gVisor's words (20240729), as they were seen when a sandbox had used up its memory. */
const LOST =
  'waiting on pid 4: waiting on PID 4 in sandbox "196d27113aff": urpc method "containerManager.WaitPID" failed: EOF\n';

/** A frame of Docker's stream, of stderr. */
function frame(text: string): Buffer {
  const head = Buffer.alloc(8);
  head[0] = 2;
  head.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([head, Buffer.from(text)]);
}

describe('a command whose stream stays open', () => {
  it.each([
    ['stopped', { ...running, Running: false }],
    ['been started again', { ...running, StartedAt: '2026-01-01T00:00:01Z' }],
  ])('must end as one whose container does not run once that has %s', async (_how, ended) => {
    await expect(run([running, ended])).rejects.toMatchObject({ code: 'container_not_running' });
  });

  it('must end for its reader within seconds once its container is known to have ended', async () => {
    const sessions = new OpenSessions();
    const states = [running, { ...running, Running: false }];
    const session = await ExecSession.open(
      containerThatIs(states),
      { command: ['sleep'] },
      { call, lookAfterMs: 60_000 },
    );
    sessions.add('a', session);
    const reading = (async () => {
      for await (const output of session.output) void output;
    })();
    // The first look by itself is a minute away.
    const told = setInterval(() => sessions.noteContainerEnd('a'), 10);
    await reading.finally(() => clearInterval(told));
    await expect(session.exit()).rejects.toMatchObject({ code: 'container_not_running' });
  });

  it.each([
    ['neither starts nor fails', true, 'container_not_responding'],
    ['fails without a word', false, 'docker_error'],
  ])('must not be waited for without end where it %s', async (_how, Running, code) => {
    const command = {
      start: () => Promise.resolve(new PassThrough()),
      inspect: () => Promise.resolve({ Running, ExitCode: Running ? null : 126, Pid: 0 }),
    };
    const container = Object.assign(containerThatIs([running]), { exec: () => Promise.resolve(command) });
    const times = { call, startWithinMs: 20, refusedWithinMs: 20 };
    const session = await ExecSession.open(container, { command: ['sleep'] }, times);
    await expect(session.started()).rejects.toMatchObject({ code });
    session.close();
  });

  it('must not be waited for longer where its state, or its start, is not told, and be blamed on Docker if that is silent', async () => {
    const silence = new Promise<never>(() => undefined);
    const command = { start: () => Promise.resolve(new PassThrough()), inspect: () => silence };
    const times = { call, startWithinMs: 20, answers: () => Promise.resolve(false) };
    const untold = Object.assign(containerThatIs([running]), { exec: () => Promise.resolve(command) });
    const session = await ExecSession.open(untold, { command: ['sleep'], startWithinMs: 10 }, times);
    await expect(session.hasStarted()).rejects.toMatchObject({ code: 'docker_unavailable' });
    session.close();
    const held = Object.assign(containerThatIs([running]), { exec: () => silence });
    const opening = ExecSession.open(held, { command: ['sleep'] }, { call, startWithinMs: 20 });
    await expect(opening).rejects.toMatchObject({ code: 'container_not_responding' });
  });

  it('must keep its output if it has ended before Docker knows its PID', async () => {
    const stream = new PassThrough();
    const command = {
      start: () => Promise.resolve(stream),
      inspect: () => Promise.resolve({ Running: false, ExitCode: 0, Pid: 0 }),
    };
    const container = Object.assign(containerThatIs([running]), { exec: () => Promise.resolve(command) });
    const session = await ExecSession.open(container, { command: ['hostname'] }, { call });
    stream.end(frame('early-pier\n'));
    const read: string[] = [];
    for await (const { data } of session.output) read.push(data.toString());
    expect([read.join(''), await session.exit()]).toEqual(['early-pier\n', { exitCode: 0 }]);
  });

  it('must not be taken for refused while Docker has yet to begin with it', async () => {
    const states = [
      { Running: false, ExitCode: null, Pid: 0 },
      { Running: true, ExitCode: null, Pid: 0 },
    ];
    const command = {
      start: () => Promise.resolve(new PassThrough()),
      inspect: () => Promise.resolve(states.shift() ?? { Running: true, ExitCode: null, Pid: 7 }),
    };
    const container = Object.assign(containerThatIs([running]), { exec: () => Promise.resolve(command) });
    const session = await ExecSession.open(container, { command: ['sleep'] }, { call, refusedWithinMs: 20 });
    await expect(session.started()).resolves.toBeUndefined();
    session.close();
  });

  it('must not be taken for one that was killed where its container was, though that runs again', async () => {
    const command = {
      start: () => {
        const stream = new PassThrough();
        void setTimeout(30).then(() => stream.end());
        return Promise.resolve(stream);
      },
      inspect: () => Promise.resolve({ Running: false, ExitCode: 137, Pid: 7 }),
    };
    const exitAfter = async (states: readonly State[]): Promise<unknown> => {
      const container = Object.assign(containerThatIs(states), { exec: () => Promise.resolve(command) });
      const session = await ExecSession.open(container, { command: ['sleep'] }, { call, lookAfterMs: 10 });
      for await (const output of session.output) void output;
      return session.exit();
    };
    const again = { ...running, StartedAt: '2026-01-01T00:00:01Z' };
    await expect(exitAfter([running, again])).rejects.toMatchObject({ code: 'container_not_running' });
    await expect(exitAfter([running])).resolves.toEqual({ exitCode: 137 });
  });

  it.each([
    ['the container ends', 128, { ...running, Running: false }, 'before\n'],
    ['the container runs on', 128, running, 'before\n'],
    ['the command itself has written the words', 1, running, `before\n${LOST}`],
  ])('must be told by its end, and not by the runtime’s words, where its sandbox died: %s', async (...row) => {
    const [, ExitCode, after, output] = row;
    for (const reads of ['iterated', 'flowing']) {
      const stream = new PassThrough();
      const command = {
        start: () => Promise.resolve(stream),
        inspect: () => Promise.resolve({ Running: false, ExitCode, Pid: 7 }),
      };
      const container = Object.assign(containerThatIs([after]), { exec: () => Promise.resolve(command) });
      const session = await ExecSession.open(container, { command: ['sleep'] }, { call, lookAfterMs: 60_000 });
      stream.end(Buffer.concat([frame('before\n'), frame(LOST)]));
      let said = '';
      if (reads === 'iterated') for await (const { data } of session.output) said += data.toString();
      else {
        await new Promise<void>((over) =>
          session.output.flowTo?.({ take: ({ data }) => void (said += data.toString()), over }),
        );
      }
      expect([reads, said]).toEqual([reads, output]);
      if (after.Running) await expect(session.exit()).resolves.toEqual({ exitCode: ExitCode === 128 ? 137 : ExitCode });
      else await expect(session.exit()).rejects.toMatchObject({ code: 'container_not_running' });
    }
  });

  it.each([
    ['stopped here', (sessions: OpenSessions, ended: Promise<void>) => void sessions.whileEnding('a', () => ended)],
    ['sent a signal by somebody else', (sessions: OpenSessions) => sessions.noteKill('a')],
  ])('must not be taken for one that was killed while its container, %s, takes its time', async (_how, end) => {
    const sessions = new OpenSessions();
    let state = running;
    const command = {
      start: () => Promise.resolve(new PassThrough().end()),
      inspect: () => Promise.resolve({ Running: false, ExitCode: 143, Pid: 7 }),
    };
    const container = { exec: () => Promise.resolve(command), inspect: () => Promise.resolve({ State: state }) };
    const canEnter = (): Promise<boolean> => Promise.resolve(true);
    const options = { call, lookAfterMs: 60_000, end: { isNear: () => sessions.isEnding('a'), canEnter } };
    const session = await ExecSession.open(container as unknown as Docker.Container, { command: ['sleep'] }, options);
    sessions.add('a', session);
    const ended = setTimeout(300).then(() => void (state = { ...running, Running: false }));
    end(sessions, ended);
    for await (const output of session.output) void output;
    await expect(session.exit()).rejects.toMatchObject({ code: 'container_not_running' });
  });

  it('must not be waited for in the next run of a container that was killed', async () => {
    const sessions = new OpenSessions();
    sessions.noteKill('a');
    expect(sessions.isEnding('a')).toBe(true);
    sessions.noteContainerEnd('a');
    expect(sessions.isEnding('a')).toBe(false);
    const ended = sessions.whileEnding('a', () => Promise.reject(new Error('no answer')));
    expect(sessions.isEnding('a')).toBe(true);
    await expect(ended).rejects.toThrow('no answer');
    expect(sessions.isEnding('a')).toBe(false);
  });
});
