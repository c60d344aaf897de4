import type { DockerEngine } from '../../src/docker/docker-engine';
import type { ContainerProcess } from '../../src/engine';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { RUNTIMES } from '../support/extent';

jest.setTimeout(180_000);

const LIMITS = { timeoutMs: 60_000, maxOutputBytes: 2 ** 20 };

async function textOf(program: ContainerProcess): Promise<string> {
  let text = '';
  for await (const { data } of program.output) text += data.toString();
  return text;
}

describe.each(RUNTIMES)('programs by the supervisor under %s', (runtime) => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.dockerEngine({ SANDBOX_RUNTIME: runtime });
  const { real } = sandbox;
  let engineId: string;

  async function run(
    command: readonly string[],
    by: DockerEngine = engine,
  ): Promise<{ text: string; exitCode: number }> {
    const said: Buffer[] = [];
    const { exitCode } = await by.programs.run(engineId, {
      command,
      ...LIMITS,
      onOutput: ({ data }) => void said.push(data),
    });
    return { text: Buffer.concat(said).toString(), exitCode };
  }

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    engineId = await sandbox.running(engine, sandbox.spec());
  });
  afterAll(() => sandbox.cleanUp());

  it('must run, with their output, their exit code or their signal', async () => {
    const { text, exitCode } = await run(['sh', '-c', 'echo out; echo err >&2; exit 7']);
    // The order of two pipes is not known.
    expect([text.split('\n').sort(), exitCode]).toEqual([['', 'err', 'out'], 7]);
    expect((await run(['sh', '-c', 'kill -9 $$'])).exitCode).toBe(137);
    await expect(run(['no-such-program'])).rejects.toMatchObject({ code: 'command_not_started' });
    expect((await run(['sh', '-c', 'tr "\\0" "\\n" </proc/1/cmdline'])).text).toMatch(/^\/\.berth\/supervisor\ninit\n/);
  });

  it('must take input, of any size, and a terminal', async () => {
    const program = await engine.programs.start(engineId, { command: ['md5sum'], stdin: true });
    program.stdin?.write(Buffer.alloc(3_000_000, 'x'));
    program.stdin?.end();
    expect(await textOf(program)).toMatch(/^[0-9a-f]{32} /);
    expect(await program.exit()).toMatchObject({ exitCode: 0, bytes: 36 });
    const size = { columns: 91, rows: 17 };
    const terminal = await engine.programs.start(engineId, { command: ['stty', 'size'], terminal: size });
    expect(await textOf(terminal)).toBe('17 91\r\n');
  });

  it('must outlive the process of Berth that started them, and be attached to by another one', async () => {
    const first = sandbox.dockerEngine({ SANDBOX_RUNTIME: runtime });
    await first.host.prepare(sandbox.instance);
    const script = 'i=0; while read -r line; do i=$((i+1)); echo "$i $line"; done; exit 3';
    const started = await first.programs.start(engineId, {
      command: ['sh', '-c', script],
      id: 'kept-one',
      kept: true,
      owner: 'me',
      stdin: true,
    });
    started.stdin?.write('a\n');
    const reading = started.output[Symbol.asyncIterator]();
    expect((await reading.next()).value).toMatchObject({ offset: 0, data: Buffer.from('1 a\n') });
    first.onApplicationShutdown();
    await expect(started.exit()).rejects.toMatchObject({ code: 'aborted' });

    const listed = (await engine.programs.list(engineId)).find(({ id }) => id === 'kept-one');
    expect(listed).toMatchObject({ owner: 'me', program: 'sh', isKept: true, exit: null, from: 0, to: 4 });
    const attached = await engine.programs.attach(engineId, { id: 'kept-one', after: 0, input: true });
    expect(attached).toMatchObject({ pid: started.pid, startedAt: started.startedAt, from: 0, to: 4 });
    attached.stdin?.end('b\n');
    expect(await textOf(attached)).toBe('1 a\n2 b\n');
    expect(await attached.exit()).toMatchObject({ exitCode: 3, bytes: 8 });
    expect(await textOf(await engine.programs.attach(engineId, { id: 'kept-one', after: 4 }))).toBe('2 b\n');
    await engine.programs.forget(engineId, 'kept-one');
    await engine.programs.forget(engineId, 'kept-one');
    await expect(engine.programs.attach(engineId, { id: 'kept-one' })).rejects.toMatchObject({
      code: 'program_not_found',
    });
  });

  it('must be signalled and ended with all that they started', async () => {
    const command = ['sh', '-c', 'sleep 7501 & sleep 7502 & wait'];
    const program = await engine.programs.start(engineId, { command, id: 'family' });
    await eventually(async () =>
      expect([...(await engine.programs.descendants(engineId, { id: 'family' }))].sort()).toEqual(['sleep', 'sleep']),
    );
    await expect(engine.programs.forget(engineId, 'family')).rejects.toMatchObject({ code: 'program_running' });
    expect(await engine.programs.signal(engineId, { id: 'nobody', signal: 'TERM' })).toBe('none');
    const end = { id: 'family', signal: 'TERM', graceMs: 5_000 } as const;
    expect(await engine.programs.end(engineId, end)).toBe('ended');
    expect(await program.exit()).toMatchObject({ signal: 15 });
    expect((await run(['sh', '-c', 'ps 2>/dev/null | grep "[7]50[12]" || true'])).text).toBe('');
  });

  it('must be limited in time and output, and end', async () => {
    const flood = { command: ['yes'], timeoutMs: 30_000, maxOutputBytes: 1000, id: 'flood' };
    await expect(engine.programs.run(engineId, flood)).rejects.toMatchObject({ code: 'output_too_large' });
    const sleeper = { command: ['sleep', '7503'], timeoutMs: 300, maxOutputBytes: 1, id: 'late' };
    await expect(engine.programs.run(engineId, sleeper)).rejects.toMatchObject({ code: 'timed_out' });
    const ids = (await engine.programs.list(engineId)).map(({ id }) => id);
    expect(ids).toEqual(expect.not.arrayContaining(['flood', 'late']));
  });

  it('must show the ports that they listen on, and be connected to', async () => {
    const command = ['sh', '-c', 'echo hello >/tmp/index.html; exec httpd -f -p 127.0.0.1:7080 -h /tmp'];
    await engine.programs.start(engineId, { command });
    await eventually(async () =>
      expect(await engine.ports.listening(engineId)).toContainEqual({ port: 7080, addresses: ['127.0.0.1'] }),
    );
    const connection = await engine.ports.connect(engineId, 7080);
    connection.end('GET / HTTP/1.0\r\n\r\n');
    let text = '';
    for await (const data of connection) text += String(data);
    expect(text).toMatch(/\r\n\r\nhello\n$/);
    await expect(engine.ports.connect(engineId, 7081)).rejects.toMatchObject({ code: 'port_closed' });
  });

  it('must fail as the container does, with one channel for all of them, which is opened again', async () => {
    const before = engine.daemon.calls.channels.opened;
    const many = Array.from({ length: 30 }, (_each, number) => run(['echo', String(number)]));
    expect((await Promise.all(many)).map(({ text }) => text.trim())).toEqual([...many.keys()].map(String));
    const program = await engine.programs.start(engineId, { command: ['sleep', '7504'] });
    expect(engine.daemon.calls.channels.opened).toBe(before);
    await engine.containers.stop(engineId, 5);
    await expect(program.exit()).rejects.toMatchObject({ code: 'container_not_running' });
    await expect(run(['true'])).rejects.toMatchObject({ code: 'container_not_running' });
    await engine.containers.start(engineId);
    expect((await run(['echo', 'again'])).text).toBe('again\n');
    const killed = await engine.programs.start(engineId, { command: ['sleep', '7505'] });
    await real.docker.getContainer(engineId).kill();
    await expect(killed.exit()).rejects.toMatchObject({ code: 'container_not_running' });
    await expect(run(['true'])).rejects.toMatchObject({ code: 'container_not_running' });
    await engine.containers.start(engineId);
    await sandbox.pause(engineId);
    await expect(run(['true'])).rejects.toMatchObject({ code: 'container_paused' });
    await engine.containers.unpause(engineId);
    expect((await run(['echo', 'on'])).text).toBe('on\n');
    await expect(engine.programs.list('0'.repeat(64))).rejects.toMatchObject({ code: 'container_not_found' });
  });
});
