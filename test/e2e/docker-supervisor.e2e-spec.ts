import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { ownSupervisorFile } from '../support/docker/supervisor-file';
import { eventually } from '../support/eventually';
import { RUNTIMES } from '../support/extent';

jest.setTimeout(240_000);

const NUMERIC = 'berth-test/numeric-user:1';
const NAMED = 'berth-test/named-user:1';
const MOVING = 'berth-test/moving:1';
const SHELLESS = 'berth-test/no-shell:1';

/** Long enough for a busy machine, and for it to be clear that nobody waited for its end. */
const GRACE = 60;

describe.each(RUNTIMES)('the main process of a sandbox under %s', (runtime) => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine({ SANDBOX_RUNTIME: runtime });
  const { real } = sandbox;
  let engineId: string;

  const shell = (id: string, script: string, user = '0'): Promise<string> =>
    real.exec(id, ['sh', '-c', script], { user });
  const exitCode = async (id: string): Promise<number | null | undefined> =>
    (await engine.containers.inspect(id))?.exitCode;
  /** Starts a program that goes on, and waits until it is there. */
  async function begin(script: string, user: string): Promise<void> {
    const mark = `ready-${user}-${String(Math.random()).slice(2)}`;
    void shell(engineId, script.replace('READY', `: > /tmp/${mark}`), user).catch(() => undefined);
    await eventually(async () => expect(await shell(engineId, `ls /tmp/${mark} 2>&1`)).toBe(`/tmp/${mark}\n`));
  }
  /** As a command's output. */
  async function run(id: string, ...command: string[]): Promise<string> {
    const output: Buffer[] = [];
    const limits = { timeoutMs: 30_000, maxOutputBytes: 10_000 };
    await engine.programs.run(id, { command, ...limits, onOutput: ({ data }) => output.push(data) });
    return Buffer.concat(output).toString();
  }

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    await Promise.all([
      real.makeImage(NUMERIC, 'rm -r /home/user', 'USER 1000:1000'),
      real.makeImage(NAMED, 'rm -r /home/user', 'USER user'),
      real.makeImage(SHELLESS, 'rm /bin/sh'),
    ]);
    engineId = await sandbox.running(engine, sandbox.spec());
    await shell(engineId, 'chmod 777 /home/user /tmp');
  });
  afterAll(async () => {
    await sandbox.cleanUp();
    for (const image of [NUMERIC, NAMED, SHELLESS]) await real.docker.getImage(image).remove();
  });
  beforeEach(async () => {
    await engine.containers.start(engineId);
  });

  // In an image with busybox, in one of Debian, and in one without a shell.
  it.each([sandbox.spec().image, process.env['TEST_SANDBOX_IMAGE'] ?? '', SHELLESS])(
    'must be the supervisor, whose words are in the environment of no program, in %s',
    async (image) => {
      const id = await sandbox.running(engine, sandbox.spec({ image }));
      expect((await run(id, 'cat', '/proc/1/cmdline')).split('\0').slice(0, 3)).toEqual([
        '/.berth/supervisor',
        'init',
        image === SHELLESS ? '0' : expect.any(String),
      ]);
      const environments: string[] = [];
      for (const user of [undefined, '0', '1000']) {
        for (const terminal of [undefined, { columns: 80, rows: 24 }]) {
          const program = await engine.programs.start(id, { command: ['env'], user, id: `of-${user ?? ''}`, terminal });
          let text = '';
          for await (const { data } of program.output) text += data.toString();
          await program.exit();
          environments.push(text);
        }
      }
      for (const environment of environments) {
        expect(environment).toContain('HOME=/home/user');
        expect(environment).toMatch(/^BERTH_SESSION=of-/m);
      }
      await engine.containers.remove(id);
    },
  );

  it('must end an idle sandbox at once', async () => {
    expect(await engine.containers.stop(engineId, GRACE)).toBe('stopped');
    expect(await exitCode(engineId)).toBe(0);
  });

  it("must give every user's programs their SIGTERM, and the time to end", async () => {
    for (const user of ['0', '1000']) {
      const farewell = `trap 'sleep 1; echo bye > /home/user/bye-${user}; exit' TERM`;
      await begin(`${farewell}; READY; while :; do sleep 0.1; done`, user);
    }
    await engine.containers.stop(engineId, GRACE);
    expect(await exitCode(engineId)).toBe(0);
    await engine.containers.start(engineId);
    expect(await shell(engineId, 'cat /home/user/bye-0 /home/user/bye-1000')).toBe('bye\nbye\n');
  });

  it('must end a program that was suspended', async () => {
    await begin('READY; kill -STOP $$; sleep 600', '1000');
    await engine.containers.stop(engineId, GRACE);
    expect(await exitCode(engineId)).toBe(0);
  });

  it('must end the shells of terminals, which ignore SIGTERM, and let what they run end in its own way', async () => {
    const farewell = `trap 'sleep 1; echo bye > /home/user/bye; exit' TERM; : > /tmp/in; while :; do sleep 0.1; done`;
    const start = () =>
      engine.programs.start(engineId, { command: ['sh', '-l'], terminal: { columns: 80, rows: 24 }, user: '1000' });
    const [idle, busy] = [await start(), await start()];
    busy.stdin?.write(`setsid sh -c "${farewell}" &\n`);
    await eventually(async () => expect(await shell(engineId, 'ls /tmp/in 2>&1')).toBe('/tmp/in\n'));
    const reading = [idle, busy].map(async ({ output }) => {
      for await (const each of output) void each;
    });
    await engine.containers.stop(engineId, GRACE);
    expect(await exitCode(engineId)).toBe(0);
    await Promise.all(reading);
    await engine.containers.start(engineId);
    expect(await shell(engineId, 'cat /home/user/bye')).toBe('bye\n');
  });

  it('must leave to SIGKILL what does not end', async () => {
    await begin("trap '' TERM; READY; while :; do sleep 1; done", '1000');
    await engine.containers.stop(engineId, 1);
    expect(await exitCode(engineId)).toBe(137);
  });

  it.each([NUMERIC, NAMED])(
    'must give the home to the own user of the image %s, as whom commands run',
    async (image) => {
      const id = await sandbox.running(engine, sandbox.spec({ image }));
      await eventually(async () => expect(await run(id, 'stat', '-c', '%u:%g', '/home/user')).toBe('1000:1000\n'));
      expect(await run(id, 'sh', '-c', 'id -u; touch /home/user/mine && ls /home/user')).toBe('1000\nmine\n');
      // Of root's own: what package managers need.
      expect(await shell(id, 'id -u; touch /etc/roots && echo written')).toBe('0\nwritten\n');
      await engine.containers.remove(id);
    },
  );

  it('must give it to the user of the version that was looked up, whatever the reference names by then', async () => {
    const [repo = '', tag = ''] = MOVING.split(':');
    await real.docker.getImage(NUMERIC).tag({ repo, tag });
    const { id: image } = await engine.images.ensure(MOVING);
    await real.docker.getImage(SHELLESS).tag({ repo, tag });
    const id = await sandbox.running(engine, sandbox.spec({ image }));
    expect(await run(id, 'id', '-u')).toBe('1000\n');
    await eventually(async () => expect(await run(id, 'stat', '-c', '%u:%g', '/home/user')).toBe('1000:1000\n'));
    expect(await engine.containers.inspect(id)).toMatchObject({ imageId: image });
    await engine.containers.remove(id);
    await real.docker.getImage(MOVING).remove();
  });

  it('must leave the home to whom somebody has given it', async () => {
    const id = await sandbox.running(engine, sandbox.spec({ image: NUMERIC }));
    await eventually(async () => expect(await shell(id, 'stat -c %u /home/user')).toBe('1000\n'));
    await shell(id, 'chown 7:7 /home/user');
    await engine.containers.stop(id, GRACE);
    await engine.containers.start(id);
    expect(await shell(id, 'sleep 0.3; stat -c %u /home/user')).toBe('7\n');
    await engine.containers.remove(id);
  });

  it('must end at once in an image without a shell, too', async () => {
    const id = await sandbox.running(engine, sandbox.spec({ image: SHELLESS }));
    expect(await run(id, '/bin/ash', '-c', 'id -u; echo there')).toBe('0\nthere\n');
    await engine.containers.stop(id, GRACE);
    expect(await exitCode(id)).toBe(0);
    expect(await engine.containers.start(id)).toBe('started');
    await engine.containers.remove(id);
  });

  it('must be told apart from the main process of an earlier version, which is to be restarted', async () => {
    const container = await real.docker.createContainer({
      Image: sandbox.spec().image,
      Entrypoint: ['sleep', 'infinity'],
      Labels: { 'berth.managed': 'true', 'berth.instance': sandbox.instance },
      HostConfig: { Runtime: runtime, Init: true, NetworkMode: `berth-${sandbox.instance}` },
    });
    await container.start();
    const required = { code: 'restart_required' };
    await expect(run(container.id, 'id', '-u')).rejects.toMatchObject(required);
    await expect(engine.ports.listening(container.id)).rejects.toMatchObject(required);
    expect(await engine.containers.start(container.id)).toBe('already_running');
    await engine.containers.stop(container.id, 1);
    await expect(engine.containers.start(container.id)).rejects.toMatchObject(required);
    await engine.containers.remove(container.id);
  });

  it('must be there again after its volume was removed, or is empty because a server died while it filled it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-supervisor-'));
    const file = ownSupervisorFile(folder);
    const other = sandbox.dockerEngine({ SANDBOX_RUNTIME: runtime, SUPERVISOR_FILE: file });
    await other.host.prepare(sandbox.instance);
    const id = await sandbox.running(other, sandbox.spec());
    const { Mounts } = await real.docker.getContainer(id).inspect();
    const shown = Mounts.find(({ Destination }) => Destination === '/.berth')?.Name ?? '';
    const volume = `${shown.split('-').slice(0, 3).join('-')}-files`;
    await other.containers.stop(id, 1);
    const worker = await real.docker.createContainer({
      Image: sandbox.spec().image,
      Entrypoint: ['sh', '-c', 'rm /.berth/supervisor /.berth/complete'],
      HostConfig: { Mounts: [{ Type: 'volume', Source: volume, Target: '/.berth' }] },
    });
    await worker.start();
    await worker.wait();
    await worker.remove();
    // gVisor (20240729) mostly leaves remains of a refused start, so that the lifecycle recreates the container.
    const outcome = await other.containers.start(id).catch((error: unknown) => (error as { code: string }).code);
    expect(runtime === 'runsc' ? ['started', 'container_broken'] : ['started']).toContain(outcome);
    await eventually(() => other.containers.remove(id), { timeoutMs: 90_000 });
    const next = await sandbox.running(other, sandbox.spec());
    expect(await run(next, 'echo', 'there')).toBe('there\n');
    await other.containers.remove(next);
    for (const name of [shown, volume]) await real.docker.getVolume(name).remove();
    rmSync(folder, { recursive: true });
  });
});
