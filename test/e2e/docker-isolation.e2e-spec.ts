import { readFile } from 'node:fs/promises';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { describeQuick, inBoth, inMore, onlyQuick as it, RUNTIMES } from '../support/extent';
import { writeThreadBomb } from './thread-bomb';

jest.setTimeout(120_000);

/**
 * The bits of CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID and NET_BIND_SERVICE: Linux capabilities 0, 1, 3, 5, 6,
 * 7, 10.
 */
const CAPABILITY_MASK = [0, 1, 3, 5, 6, 7, 10].reduce((mask, bit) => mask | (1 << bit), 0);

describeQuick('what a sandbox may do', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();
  let engineId: string;

  const inside = (...command: string[]): Promise<string> => sandbox.real.exec(engineId, command);
  const shell = (script: string): Promise<string> => inside('sh', '-c', script);

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    engineId = await sandbox.running(engine, sandbox.spec());
  });
  afterAll(() => sandbox.cleanUp());

  it('must run under gVisor, not on the kernel of the machine', async () => {
    const ofSandbox = await inside('cat', '/proc/version');
    expect(ofSandbox).toMatch(/^Linux version/);
    expect(ofSandbox).not.toBe(await readFile('/proc/version', 'utf8'));
  });

  it('must see no more memory than it was given', async () => {
    const total = /MemTotal:\s+(\d+) kB/.exec(await inside('cat', '/proc/meminfo'))?.[1];
    expect(Number(total)).toBeLessThanOrEqual(256 * 1024);
    expect(Number(total)).toBeGreaterThan(200 * 1024);
  });

  it('must hold exactly the capabilities that it was given', async () => {
    const status = await inside('cat', '/proc/self/status');
    const effective = /CapEff:\s+([0-9a-f]+)/.exec(status)?.[1];
    const bounding = /CapBnd:\s+([0-9a-f]+)/.exec(status)?.[1];
    expect(Number.parseInt(effective ?? '', 16)).toBe(CAPABILITY_MASK);
    expect(Number.parseInt(bounding ?? '', 16)).toBe(CAPABILITY_MASK);
  });

  it.each(['mount -t tmpfs none /mnt', 'date -s 2000-01-01', 'mknod /home/user/disk b 8 0', 'chroot / true'])(
    'must not be allowed to: %s',
    async (attempt) => {
      expect(await shell(`mkdir -p /mnt /tmp; ${attempt} 2>&1`)).toMatch(/not permitted|denied/i);
    },
  );

  it('must not open the disk of the machine, though gVisor makes a node for it in its own memory', async () => {
    expect(await shell('mkdir -p /tmp; mknod /tmp/disk b 8 0; head -c 1 /tmp/disk 2>&1')).toMatch(/no such device/i);
  });

  it('must see nothing of the machine beyond its own volume', async () => {
    expect(
      await shell('ls -d /var/run/docker.sock /proc/1/root/home/user 2>/dev/null; ls -A /home/user'),
    ).not.toContain('docker.sock');
    const { HostConfig, Mounts } = await sandbox.real.inspect(engineId);
    const mounted = Mounts.map(({ Type, Destination, RW }) => ({ Type, Destination, RW }));
    mounted.sort((one, other) => (one.Destination < other.Destination ? -1 : 1));
    expect(mounted).toEqual([
      { Type: 'volume', Destination: '/.berth', RW: false },
      { Type: 'volume', Destination: '/home/user', RW: true },
    ]);
    expect(HostConfig).toMatchObject({
      Privileged: false,
      IpcMode: 'private',
      CgroupnsMode: 'private',
      PidMode: '',
      UTSMode: '',
      PidsLimit: 192 * 16 + 1024,
      Memory: 256 * 1024 * 1024,
      MemorySwap: 256 * 1024 * 1024,
      CpuPeriod: 100_000,
      CpuQuota: 50_000,
      NanoCpus: 0,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      RestartPolicy: { Name: 'unless-stopped' },
    });
    expect(HostConfig.MaskedPaths?.length).toBeGreaterThan(0);
    expect(HostConfig.ReadonlyPaths?.length).toBeGreaterThan(0);
    expect(HostConfig.Devices ?? []).toEqual([]);
    expect(HostConfig.PortBindings ?? {}).toEqual({});
    expect(HostConfig.Binds ?? []).toEqual([]);
  });

  it('must leave no core of a process that crashed', async () => {
    expect(await shell('ulimit -Hc')).toBe('0\n');
  });

  it('must take more processors than the machine has', async () => {
    const many = await sandbox.running(engine, sandbox.spec({ cpuShares: 64_000 }));
    expect(await engine.containers.inspect(many)).toMatchObject({ state: 'running' });
    await engine.containers.remove(many);
  });

  it('must not reach a sibling on the same network, which itself can be reached from the machine', async () => {
    const sibling = await sandbox.running(engine, sandbox.spec());
    const address = (await engine.containers.inspect(sibling))?.ipAddress ?? '';
    const listening = sandbox.real.exec(sibling, ['sh', '-c', 'while true; do echo hello | nc -l -p 8000; done']);
    listening.catch(() => undefined);
    // Itself first: the listener is up, and only the way to it is closed.
    const own = ['sh', '-c', `nc -w 5 ${address} 8000 </dev/null`];
    await eventually(async () => expect(await sandbox.real.exec(sibling, own)).toContain('hello'));
    expect(await shell(`nc -w 2 ${address} 8000 </dev/null 2>/dev/null || echo unreachable`)).toBe('unreachable\n');
    await engine.containers.remove(sibling);
  });
});

/** The most processes of a sandbox with a bomb. */
const PROCESSES = 64;

describe.each(RUNTIMES)('a bomb in a sandbox under %s', (runtime) => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine({ SANDBOX_RUNTIME: runtime });
  let engineId: string;
  let started: string | null | undefined;

  const asUser = (script: string): Promise<string> =>
    sandbox.real.exec(engineId, ['sh', '-c', script], { user: '1000' });
  /** Once its processes have ended, there is room again, for more than one. */
  const expectIntact = (): Promise<void> =>
    eventually(
      async () => {
        const run = await engine.containers.inspect(engineId);
        expect([run?.state, run?.startedAt]).toEqual(['running', started]);
        expect(await asUser('for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait; echo intact')).toBe('intact\n');
      },
      { timeoutMs: 30_000 },
    );

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    engineId = await sandbox.running(engine, sandbox.spec({ processes: PROCESSES }));
    started = (await engine.containers.inspect(engineId))?.startedAt;
    await sandbox.real.exec(engineId, ['sh', '-c', 'chmod 777 /home/user']);
  });
  afterAll(() => sandbox.cleanUp());

  inBoth('of forks must fail, and leave the sandbox running', async () => {
    const words = await asUser("sh -c 'i=0; while [ $i -lt 300 ]; do sleep 600 & i=$((i+1)); done'; kill -9 -1");
    expect(words).toMatch(/can't fork/i);
    await expectIntact();
  });

  inBoth('of open files must fail, and leave the sandbox running', async () => {
    // Under runc the limit is the daemon's own, which may be too high to be reached here.
    const limit = Number(await asUser('ulimit -n'));
    if (runtime === 'runsc') expect(limit).toBe(256 * 64);
    const opened = Math.min(limit + 10, 40_000);
    const words = await asUser(
      `ln -sf /etc/passwd p; tail -f $(yes p | head -n ${opened}) 2>said >/dev/null &
       until [ -s said ] || [ -e /proc/$!/fd/${opened} ]; do sleep 0.1; done; kill -9 $!; cat said`,
    );
    if (opened > limit) expect(words).toMatch(/too many open files/i);
    await expectIntact();
  });

  // The program is for that processor.
  (process.arch === 'x64' ? inBoth : test.skip)('of threads must fail, and leave the sandbox running', async () => {
    // No further process can start meanwhile.
    const counted = './bomb >count & until [ -s count ]; do :; done; read count <count; kill -9 $!; echo $count';
    const threads = Number(await asUser(`${writeThreadBomb('bomb')}; ${counted}`));
    expect(threads).toBeGreaterThan(PROCESSES / 2);
    expect(threads).toBeLessThanOrEqual(PROCESSES);
    await expectIntact();
  });
});

inMore.each(['runsc', 'runc'] as const)(
  'a bomb of forks that fork must leave its sandbox running, under %s',
  async (runtime) => {
    const sandbox = new EngineSandbox();
    const engine = sandbox.engine({ SANDBOX_RUNTIME: runtime });
    try {
      await engine.host.prepare(sandbox.instance);
      const engineId = await sandbox.running(engine, sandbox.spec({ processes: PROCESSES }));
      const startedAt = (await engine.containers.inspect(engineId))?.startedAt;
      // Under gVisor it goes on for ever, within its limit.
      const bomb = ['sh', '-c', 'b() { b | b & }; b; sleep 1'];
      await sandbox.real.exec(engineId, bomb, { user: '1000' }).catch(() => undefined);
      expect(await engine.containers.inspect(engineId)).toMatchObject({ state: 'running', startedAt });
      if (runtime === 'runsc') expect(await sandbox.real.exec(engineId, ['echo', 'intact'])).toBe('intact\n');
    } finally {
      await sandbox.cleanUp();
    }
  },
);
