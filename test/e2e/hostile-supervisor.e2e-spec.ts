import type { DockerEngine } from '../../src/docker/docker-engine';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { RUNTIMES } from '../support/extent';

jest.setTimeout(180_000);

const LIMITS = { timeoutMs: 60_000, maxOutputBytes: 2 ** 20 };

/** Takes the supervisor's place at its socket, and writes `what` to whoever connects, without end. */
const imitator = (what: string): string => `
import os, shutil, socket
shutil.rmtree("/dev/.berth", ignore_errors=True)
os.mkdir("/dev/.berth")
server = socket.socket(socket.AF_UNIX)
server.bind("/dev/.berth/supervisor")
server.listen(16)
open("/tmp/listens", "w").close()
held = []
while True:
    client, _ = server.accept()
    _, fds, _, _ = socket.recv_fds(client, 4, 2)
    held.append(client)
    if os.fork():
        continue
    try:
        while True:
            os.write(fds[1], ${what})
    finally:
        os._exit(0)
`;
const HELLO = '{"protocol":1,"version":"x","boot":"x","user":"0","home":"L2hvbWUvdXNlcg=="}'.replaceAll('"', '\\"');

describe.each(RUNTIMES)('a root user who turns against the supervisor under %s', (runtime) => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.dockerEngine({ SANDBOX_RUNTIME: runtime });
  const { real } = sandbox;
  let other: string;

  async function said(id: string, script: string, by: DockerEngine = engine): Promise<string> {
    const output: Buffer[] = [];
    const command = ['sh', '-c', script];
    await by.programs.run(id, { command, user: '0', ...LIMITS, onOutput: ({ data }) => void output.push(data) });
    return Buffer.concat(output).toString();
  }
  const codeOf = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'works',
      (error: unknown) => (error as { code: string }).code,
    );
  /** As another process of Berth, which has no channel yet. */
  async function asAnother<T>(work: (other: DockerEngine) => Promise<T>): Promise<T> {
    const another = sandbox.dockerEngine({ SANDBOX_RUNTIME: runtime });
    await another.host.prepare(sandbox.instance);
    try {
      return await work(another);
    } finally {
      another.onApplicationShutdown();
    }
  }

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    other = await sandbox.running(engine, sandbox.spec());
  });
  afterAll(() => sandbox.cleanUp());
  afterEach(async () => expect(await said(other, 'echo unharmed')).toBe('unharmed\n'));

  it.each(['STOP', 'KILL', 'TERM'])('by SIG%s harms no more than the sandbox, which can be stopped', async (signal) => {
    const id = await sandbox.running(engine, sandbox.spec());
    await codeOf(said(id, `kill -${signal} 1; sleep 0.5; echo on`));
    expect(['works', 'container_not_running', 'container_not_responding']).toContain(
      await codeOf(engine.programs.list(id)),
    );
    const before = performance.now();
    await engine.containers.stop(id, 2);
    expect(performance.now() - before).toBeLessThan(20_000);
    await engine.containers.remove(id);
  });

  it('by its program or its socket changes nothing about what goes on, and the sandbox can be stopped', async () => {
    const id = await sandbox.running(engine, sandbox.spec());
    const size = await said(other, 'wc -c </.berth/supervisor');
    // Each of them opens the file in another way.
    for (const attack of [': >', ': >>', 'rm -f', 'touch', 'truncate -s 0', 'chmod 0', 'dd if=/dev/zero count=1 of=']) {
      await said(id, `(${attack}${attack.endsWith('=') ? '' : ' '}/.berth/supervisor) 2>&1`);
      expect([attack, await said(other, 'wc -c </.berth/supervisor')]).toEqual([attack, size]);
    }
    await said(id, 'rm -rf /dev/.berth');
    expect(await said(id, 'echo on')).toBe('on\n');
    await asAnother(async (another) => {
      expect(await codeOf(another.programs.list(id))).toBe('container_not_responding');
    });
    expect(await engine.containers.stop(id, 5)).toBe('stopped');
    expect(await engine.containers.start(id)).toBe('started');
    await asAnother(async (another) => expect(await said(id, 'echo again', another)).toBe('again\n'));
    await engine.containers.remove(id);
  });

  it.each([
    ['bytes that are no frames', 'b"x" * 65536'],
    ['zeros', 'b"\\0" * 65536'],
    ['a length that it does not keep', 'b"\\x7f\\xff\\xff\\xff\\0\\0\\0\\0\\1" + b"x" * 1000'],
    ['a flood behind a HELLO', `len(b"${HELLO}").to_bytes(4, "big") + b"\\0\\0\\0\\0\\1" + b"${HELLO}" + b"\\0" * 9`],
    [
      'endless PINGs behind a HELLO',
      `(len(b"${HELLO}").to_bytes(4, "big") + b"\\0\\0\\0\\0\\1" + b"${HELLO}" if not os.path.exists("/tmp/greeted") ` +
        'and (open("/tmp/greeted", "w").close() or True) else b"\\0\\0\\0\\0\\0\\0\\0\\0\\2" * 5000)',
    ],
  ])('by an imitation that writes %s harms nobody else', async (_what, bytes) => {
    const image = 'berth/sandbox:latest';
    const id = await sandbox.running(engine, sandbox.spec({ image, memoryMb: 512 }));
    const imitation = await engine.programs.start(id, { command: ['python3', '-c', imitator(bytes)], user: '0' });
    expect(await said(id, 'until [ -e /tmp/listens ]; do sleep 0.1; done; echo ready')).toBe('ready\n');
    await asAnother(async (another) => {
      const outcome = codeOf(another.programs.run(id, { command: ['true'], timeoutMs: 5_000, maxOutputBytes: 1 }));
      // Meanwhile the process serves others.
      const times: number[] = [];
      for (let turns = 0; turns < 5; turns += 1) {
        const before = performance.now();
        await said(other, 'true', another);
        times.push(performance.now() - before);
      }
      expect(Math.min(...times)).toBeLessThan(2_000);
      expect(['container_not_responding', 'timed_out']).toContain(await outcome);
    });
    imitation.close();
    await engine.containers.stop(id, 1);
    await engine.containers.remove(id);
    expect(await real.docker.listContainers({ all: true, filters: { id: [id] } })).toEqual([]);
  });
});
