import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { RUNTIMES } from '../support/extent';

jest.setTimeout(120_000);

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
  let dockerId: string;

  const shell = (id: string, script: string, user = '0'): Promise<string> =>
    real.exec(id, ['sh', '-c', script], { user });
  const exitCode = async (id: string): Promise<number | null | undefined> =>
    (await engine.containers.inspect(id))?.exitCode;
  /** Starts a program that goes on, and waits until it is there. */
  async function begin(script: string, user: string): Promise<void> {
    const mark = `ready-${user}-${String(Math.random()).slice(2)}`;
    void shell(dockerId, script.replace('READY', `: > /tmp/${mark}`), user).catch(() => undefined);
    await eventually(async () => expect(await shell(dockerId, `ls /tmp/${mark} 2>&1`)).toBe(`/tmp/${mark}\n`));
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
    dockerId = await sandbox.running(engine, sandbox.spec());
    await shell(dockerId, 'chmod 777 /home/user /tmp');
  });
  afterAll(async () => {
    await sandbox.cleanUp();
    for (const image of [NUMERIC, NAMED, SHELLESS]) await real.docker.getImage(image).remove();
  });

  // In an image with busybox and in one of Debian.
  it.each([sandbox.spec().image, process.env['TEST_SANDBOX_IMAGE'] ?? ''])(
    'must have a short name in a list of processes, and its text in the environment of no program, in %s',
    async (image) => {
      const isOwn = image === sandbox.spec().image;
      const id = isOwn ? dockerId : await sandbox.running(engine, sandbox.spec({ image }));
      const list = 'for each in /proc/[0-9]*/cmdline; do tr "\\0" " " <$each; echo; done';
      const names = (await run(id, 'sh', '-c', list)).split('\n');
      const own = names.filter((name) => name.includes('berth-supervisor'));
      expect(own.length).toBeGreaterThanOrEqual(1);
      for (const name of own) expect(name.length).toBeLessThan(120);
      expect(names.filter((name) => name.includes('hang_up'))).toEqual([]);
      const limits = { timeoutMs: 30_000, maxOutputBytes: 100_000 };
      const environments: string[] = [];
      for (const user of [undefined, '0', '1000']) {
        const request = { command: ['env'], user, ...limits };
        await engine.programs.run(id, { ...request, onOutput: ({ data }) => environments.push(data.toString()) });
      }
      for (const [marker, terminal] of [[undefined], ['a-marker'], ['another', true as const]] as const) {
        const { output } = await engine.programs.start(id, { command: ['env'], marker, terminal });
        const said: Buffer[] = [];
        for await (const { data } of output) said.push(data);
        environments.push(Buffer.concat(said).toString());
      }
      expect(environments.join('\n')).toMatch(/^BERTH_SESSION=a-marker$/m);
      for (const environment of environments) {
        expect(environment).toContain('HOME=/home/user');
        expect(environment).not.toMatch(/hang_up|BERTH_SESSION=\s/);
      }
      // What the main process has started, which is what it idles by.
      const idle =
        'for each in /proc/[0-9]*; do tr "\\0" " " <$each/cmdline | grep -q ^sleep && cat $each/environ; done';
      expect(await run(id, 'sh', '-c', `${idle}; true`)).not.toMatch(/hang_up/);
      if (!isOwn) await engine.containers.remove(id);
    },
  );

  it('must go on when somebody kills what it sleeps by', async () => {
    const before = await engine.containers.inspect(dockerId);
    await shell(dockerId, 'killall -9 sleep');
    await eventually(async () => expect(await shell(dockerId, 'pidof sleep')).toMatch(/^\d+\n$/));
    expect(await engine.containers.inspect(dockerId)).toEqual(before);
  });

  it('must end an idle sandbox at once', async () => {
    expect(await engine.containers.stop(dockerId, GRACE)).toBe('stopped');
    expect(await exitCode(dockerId)).toBe(0);
    await engine.containers.start(dockerId);
  });

  it("must give every user's programs their SIGTERM, a suspended one too, and the time to end", async () => {
    for (const user of ['0', '1000']) {
      const farewell = `trap 'sleep 1; echo bye > /home/user/bye-${user}; exit' TERM`;
      await begin(`${farewell}; READY; while :; do sleep 0.1; done`, user);
    }
    await begin('READY; kill -STOP $$; sleep 600', '1000');
    await engine.containers.stop(dockerId, GRACE);
    expect(await exitCode(dockerId)).toBe(0);
    await engine.containers.start(dockerId);
    expect(await shell(dockerId, 'cat /home/user/bye-0 /home/user/bye-1000')).toBe('bye\nbye\n');
  });

  it('must end the shells of terminals, which ignore SIGTERM, and let what they run end in its own way', async () => {
    const farewell = `trap 'sleep 1; echo bye > /home/user/bye; exit' TERM; : > /tmp/in; while :; do sleep 0.1; done`;
    const start = () =>
      engine.programs.start(dockerId, { command: ['sh', '-l'], terminal: true, stdin: true, user: '1000' });
    const [idle, busy] = [await start(), await start()];
    busy.stdin?.write(`setsid sh -c "${farewell}" &\n`);
    await eventually(async () => expect(await shell(dockerId, 'ls /tmp/in 2>&1')).toBe('/tmp/in\n'));
    const reading = [idle, busy].map(async ({ output }) => {
      for await (const each of output) void each;
    });
    await engine.containers.stop(dockerId, GRACE);
    expect(await exitCode(dockerId)).toBe(0);
    await Promise.all(reading);
    await engine.containers.start(dockerId);
    expect(await shell(dockerId, 'cat /home/user/bye')).toBe('bye\n');
  });

  it('must leave to SIGKILL what does not end', async () => {
    await begin("trap '' TERM; READY; while :; do sleep 1; done", '1000');
    await engine.containers.stop(dockerId, 1);
    expect(await exitCode(dockerId)).toBe(137);
  });

  /** The home is theirs, and their commands run as them. */
  async function expectOwner(id: string): Promise<void> {
    await eventually(async () => expect(await run(id, 'stat', '-c', '%u:%g', '/home/user')).toBe('1000:1000\n'));
    expect(await run(id, 'sh', '-c', 'id -u; touch /home/user/mine && ls /home/user')).toBe('1000\nmine\n');
  }

  it("must give the home to the image's own user by name, as whom commands run", async () => {
    const id = await sandbox.running(engine, sandbox.spec({ image: NAMED }));
    await expectOwner(id);
    // Of root's own: what package managers need.
    expect(await shell(id, 'id -u; touch /etc/roots && echo written')).toBe('0\nwritten\n');
    await engine.containers.remove(id);
  });

  it('must give it to the user of the version that was looked up, whatever the reference names by then', async () => {
    const [repo = '', tag = ''] = MOVING.split(':');
    await real.docker.getImage(NUMERIC).tag({ repo, tag });
    const { id: image } = await engine.images.ensure(MOVING);
    await real.docker.getImage(SHELLESS).tag({ repo, tag });
    const id = await sandbox.running(engine, sandbox.spec({ image }));
    await expectOwner(id);
    expect(await engine.containers.inspect(id)).toMatchObject({ imageId: image });
    // Once somebody has given it to another, it stays theirs.
    await shell(id, 'chown 7:7 /home/user');
    await engine.containers.stop(id, GRACE);
    await engine.containers.start(id);
    expect(await shell(id, 'sleep 0.3; stat -c %u /home/user')).toBe('7\n');
    await engine.containers.remove(id);
    await real.docker.getImage(MOVING).remove();
  });

  it('must be a mere sleep where the image has no shell', async () => {
    for (const time of ['first', 'known by now']) {
      const id = await sandbox.running(engine, sandbox.spec({ image: SHELLESS }));
      expect(await run(id, '/bin/ash', '-c', 'id -u; echo there')).toBe('0\nthere\n');
      await engine.containers.stop(id, GRACE);
      expect(await exitCode(id)).toBe(143);
      if (time === 'known by now') expect(await engine.containers.start(id)).toBe('started');
      await engine.containers.remove(id);
    }
  });

  it('must not be needed by a container of an earlier Berth', async () => {
    const container = await real.docker.createContainer({
      Image: sandbox.spec().image,
      Entrypoint: ['sleep', 'infinity'],
      Labels: { 'berth.managed': 'true', 'berth.instance': sandbox.instance },
      HostConfig: { Runtime: runtime, Init: true, NetworkMode: `berth-${sandbox.instance}` },
    });
    expect(await engine.containers.start(container.id)).toBe('started');
    expect(await run(container.id, 'id', '-u')).toBe('0\n');
    expect(await engine.containers.stop(container.id, GRACE)).toBe('stopped');
    await engine.containers.remove(container.id);
  });
});
