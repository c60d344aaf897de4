import type { ContainerProcess, ProcessRequest } from '../../src/engine';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { itOnDocker } from '../support/docker/which-engine';

jest.setTimeout(120_000);

const SIZE = { columns: 80, rows: 24 };

describe('programs in a gVisor container', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();
  let engineId: string;

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    engineId = await sandbox.running(engine, sandbox.spec());
  });
  afterAll(() => sandbox.cleanUp());

  const start = (command: readonly string[], request: Partial<ProcessRequest> = {}): Promise<ContainerProcess> =>
    engine.programs.start(engineId, { command, ...request });

  /** Collects what a program says. */
  function listen(program: ContainerProcess): {
    said: () => string;
    whole: Promise<{ stdout: string; stderr: string }>;
  } {
    const parts: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
    const text = (stream: 'stdout' | 'stderr'): string => Buffer.concat(parts[stream]).toString();
    const read = async (): Promise<{ stdout: string; stderr: string }> => {
      for await (const { stream, data } of program.output) parts[stream].push(data);
      return { stdout: text('stdout'), stderr: text('stderr') };
    };
    return { said: () => text('stdout'), whole: read() };
  }
  const processes = (): Promise<string> => sandbox.exec(engineId, ['ps']);

  it('must take what they read and give what they write, to the end of both, and the exit code', async () => {
    const program = await start(['sh', '-c', 'pwd; id -u; wc -c; echo "$MARK" >&2; exit 7'], {
      stdin: true,
      cwd: '/tmp',
      user: '1000',
      env: { MARK: 'ü' },
    });
    const { whole } = listen(program);
    // More than any buffer in between.
    for (let mb = 0; mb < 8; mb += 1) program.stdin?.write(Buffer.alloc(1024 * 1024));
    program.stdin?.end();
    expect(await whole).toEqual({ stdout: `/tmp\n1000\n${String(8 * 1024 * 1024)}\n`, stderr: 'ü\n' });
    expect(await program.exit()).toMatchObject({ exitCode: 7 });
    const silent = await start(['cat']);
    expect(await listen(silent).whole).toEqual({ stdout: '', stderr: '' });
    expect(await silent.exit()).toMatchObject({ exitCode: 0 });
  });

  it('must have a terminal where it is asked for: echo, size, interrupt', async () => {
    const program = await start(['sh'], { stdin: true, terminal: SIZE, env: { PS1: '> ' } });
    const { said, whole } = listen(program);
    await program.resize({ columns: 132, rows: 43 });
    program.stdin?.write('stty size; trap "echo int" INT\n');
    await eventually(() => expect(said()).toContain('43 132'));
    program.stdin?.write('sleep 7301; echo "after-$((1+1))"\n');
    await eventually(async () => expect(await processes()).toContain('sleep 7301'));
    program.stdin?.write('\u0003');
    await eventually(async () => expect(await processes()).not.toContain('sleep 7301'));
    program.stdin?.write('echo ünï; exit 3\n');
    // The prompt may come behind what was typed.
    expect((await whole).stdout).toMatch(/^(> )?ünï\r$/m);
    expect(await program.exit()).toMatchObject({ exitCode: 3 });
  });

  it.each<[string, readonly string[], Partial<ProcessRequest>]>([
    ['program', ['no-such-program'], {}],
    ['user', ['true'], { user: 'nobody-knows' }],
    ['working directory', ['true'], { cwd: '/nowhere' }],
  ])('must not count as started without their %s', async (_what, command, request) => {
    for (const terminal of [{}, { terminal: SIZE }]) {
      await expect(start(command, { ...request, ...terminal })).rejects.toMatchObject({ code: 'command_not_started' });
    }
  });

  const FLOOD = ['sh', '-c', 'i=0; while :; do head -c 65536 /dev/zero; i=$((i+1)); echo $i >/tmp/written; done'];
  /** Returns once the flood stands still. */
  async function blocked(container: string): Promise<number> {
    let last = -1;
    await eventually(async () => {
      const before = last;
      last = Number(await sandbox.exec(container, ['cat', '/tmp/written']));
      expect(last).toBeGreaterThan(0);
      expect(last).toBe(before);
    });
    return last;
  }

  it('must wait while nobody reads what they write, and be ended all the same', async () => {
    const flood = await start(FLOOD, { id: 'unread' });
    expect(await blocked(engineId)).toBeLessThan(200);
    const ending = engine.programs.end(engineId, { id: 'unread', signal: 'TERM', graceMs: 2_000 });
    flood.close();
    expect(await ending).toBe('ended');
    expect(await processes()).not.toContain('/tmp/written');
  });

  it('must not hold up a stop though nobody reads what they write, and be told from those that end by themselves', async () => {
    const other = await sandbox.running(engine, sandbox.spec());
    const flood = await engine.programs.start(other, { command: FLOOD });
    const slow = await engine.programs.start(other, {
      command: ['sh', '-c', 'trap "sleep 3; exit 0" TERM; sleep 7601'],
    });
    const quick = await engine.programs.start(other, { command: ['sleep', '7602'] });
    const wholes = [listen(slow), listen(quick)].map(({ whole }) => whole);
    await eventually(async () => expect(await sandbox.exec(other, ['ps'])).toMatch(/(?=[^]*7601)[^]*sleep 7602/));
    await blocked(other);
    const before = performance.now();
    const stopping = engine.containers.stop(other, 20);
    await Promise.all(wholes);
    await expect(quick.exit()).rejects.toMatchObject({ code: 'container_not_running' });
    await stopping;
    // Docker waits for 10 s more until the output is read, and then leaves the container half stopped.
    expect(performance.now() - before).toBeLessThan(12_000);
    expect((await engine.containers.inspect(other))?.state).toBe('exited');
    expect(await endOf(flood)).toBe('ended');
  });

  itOnDocker(
    'must end with their container that is killed from outside, though nobody reads what another has written',
    async () => {
      const other = await sandbox.running(engine, sandbox.spec());
      const unread = await engine.programs.start(other, { command: ['head', '-c', '60000000', '/dev/zero'] });
      const held = await engine.programs.start(other, { command: ['sh', '-c', 'echo begun; exec sleep 7601'] });
      const { said, whole } = listen(held);
      await eventually(() => expect(said()).toBe('begun\n'));
      // Read to its first bytes, and no further.
      await unread.output[Symbol.asyncIterator]().next();
      // As long as that is not read, Docker says that the container runs, and both programs too.
      const killed = sandbox.real.docker.getContainer(other).kill();
      await whole;
      await expect(held.exit()).rejects.toMatchObject({ code: 'container_not_running' });
      await killed;
      expect((await engine.containers.inspect(other))?.state).toBe('exited');
    },
  );

  itOnDocker('must go on after a pause of their container, also where what they have written is unread', async () => {
    const other = await sandbox.running(engine, sandbox.spec());
    const size = 3_000_000;
    const unread = await engine.programs.start(other, { command: ['head', '-c', String(size), '/dev/zero'] });
    const output = unread.output[Symbol.asyncIterator]();
    const first = await output.next();
    let read = first.done === true ? 0 : first.value.data.length;
    await engine.containers.pause(other);
    const marked = { id: 'none', signal: 'TERM', graceMs: 500 } as const;
    await expect(engine.programs.end(other, marked)).rejects.toMatchObject({ code: 'container_paused' });
    await engine.containers.unpause(other);
    for (let next = await output.next(); next.done !== true; next = await output.next()) read += next.value.data.length;
    expect([read, (await unread.exit()).exitCode]).toEqual([size, 0]);
    await engine.containers.remove(other);
  });

  it('must be ended with all that they started, whoever runs it, and nobody else', async () => {
    const bystander = await start(['sleep', '7401'], { id: 'bystander' });
    const family = 'setsid sleep 7402 & trap "" TERM; sleep 7403 & exec sleep 7404';
    const program = await start(['sh', '-c', family], { id: 'one', user: '1000' });
    await eventually(async () => expect(await processes()).toMatch(/7402[^]*7403|7403[^]*7402/));
    const marked = { id: 'one', user: '1000' };
    expect(await engine.programs.signal(engineId, { ...marked, id: 'nobody', signal: 'TERM' })).toBe('none');
    expect(await engine.programs.signal(engineId, { ...marked, signal: 'CONT' })).toBe('sent');
    expect(await engine.programs.end(engineId, { ...marked, signal: 'TERM', graceMs: 300 })).toBe('ended');
    expect(await processes()).not.toMatch(/sleep 740[234]/);
    expect((await program.exit()).exitCode).toBeGreaterThanOrEqual(128);
    // What root runs as somebody else.
    const switched = await start(['su', '-s', '/bin/sh', 'user', '-c', 'sleep 7405'], { id: 'two' });
    await eventually(async () => expect(await processes()).toContain('sleep 7405'));
    expect(await engine.programs.end(engineId, { id: 'two', signal: 'TERM', graceMs: 2_000 })).toBe('ended');
    expect(await processes()).not.toContain('sleep 7405');
    switched.close();
    expect(await processes()).toContain('sleep 7401');
    expect(await engine.programs.end(engineId, { id: 'bystander', signal: 'TERM', graceMs: 9_000 })).toBe('ended');
    expect(await bystander.exit()).toMatchObject({ exitCode: 143 });
  });

  itOnDocker('must be ended also where the variables of their image lead to no shell', async () => {
    const image = 'berth-test/pathless:1';
    await sandbox.real.makeImage(image, 'true', 'ENV PATH=/home/user');
    const other = await sandbox.running(engine, sandbox.spec({ image }));
    const program = await engine.programs.start(other, { command: ['/bin/sleep', '7406'], id: 'pathless' });
    const marked = { id: 'pathless', signal: 'TERM', graceMs: 9_000 } as const;
    expect(await engine.programs.end(other, marked)).toBe('ended');
    expect(await program.exit()).toMatchObject({ exitCode: 143 });
    await engine.containers.remove(other);
    await sandbox.real.docker.getImage(image).remove();
  });

  it('must end for their reader when their container does, and go on when nobody holds them any more', async () => {
    const other = await sandbox.running(engine, sandbox.spec());
    const left = await engine.programs.start(other, { command: ['sh', '-c', 'while :; do echo on; sleep 0.1; done'] });
    left.close();
    for await (const output of left.output) void output;
    const held = await engine.programs.start(other, { command: ['sleep', '7501'], stdin: true });
    const { whole } = listen(held);
    await eventually(async () => expect(await sandbox.exec(other, ['ps'])).toMatch(/while :[^]*sleep 7501/));
    await engine.containers.stop(other, 1);
    await whole;
    expect(await endOf(held)).toBe('ended');
    const request = { command: ['true'] };
    await expect(engine.programs.start(other, request)).rejects.toMatchObject({ code: 'container_not_running' });
    await engine.containers.remove(other);
    await expect(engine.programs.start(other, request)).rejects.toMatchObject({ code: 'container_not_found' });
  });
});

/** With its container: Docker may have forgotten it, or make up an exit code. */
async function endOf(program: ContainerProcess): Promise<string> {
  try {
    const { exitCode } = await program.exit();
    return exitCode >= 126 ? 'ended' : `exited with ${String(exitCode)}`;
  } catch (error) {
    const { code } = error as { code: string };
    return code === 'container_not_running' ? 'ended' : code;
  }
}
