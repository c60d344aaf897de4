import type { ContainerCreateOptions } from 'dockerode';
import { randomUUID } from 'node:crypto';
import { PassThrough, Transform } from 'node:stream';
import { type CopyProgress, EngineError, type VolumeCopy } from '../../src/engine';
import { connectDocker, type DockerClients } from '../../src/docker/connection/client';
import { copyVolume } from '../../src/docker/volumes/volume-copy';
import { transferVolume, type TransferringVolumes } from '../../src/docker/volumes/volume-transfer';
import { runVolumeWorker } from '../../src/docker/volumes/volume-worker';
import { DESCRIBE_FILES, MAKE_DIFFICULT_FILES } from '../support/docker/difficult-files';
import { eventually } from '../support/eventually';
import { EngineSandbox, TEST_IMAGE } from '../support/docker/engine-sandbox';
import { ReflinkDisk } from '../support/docker/reflink-disk';
import { SANDBOX_IMAGE, VolumeWorkbench } from '../support/docker/volume-workbench';

jest.setTimeout(120_000);

/** A call of `setxattr`, whose arguments may not be literals. */
const setNote = (path: string, value: string): string =>
  `my ($p, $n, $v) = ('${path}', 'user.note', '${value}'); syscall(qx(uname -m) =~ /aarch64/ ? 6 : 189, $p, $n, $v, 5, 0) == 0 or die "$!"`;

/** Passes all of a container's output but the reports `bytes N`, with which scripts end. */
const withoutReports = (): Transform =>
  new Transform({
    transform: (chunk: Buffer, _encoding, done) => done(null, chunk.includes('bytes ') ? undefined : chunk),
  });

const connectToDocker = (): DockerClients =>
  connectDocker(process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock', { timeoutMs: 10_000 });

describe('the copy of a volume on a real Docker', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();
  const owner = { instance: sandbox.instance, containerId: randomUUID(), userId: randomUUID() };
  const workbench = new VolumeWorkbench(owner);
  const image = SANDBOX_IMAGE;
  let from: string;
  /** What is in it. */
  let described: string;
  let to: string;

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    from = await workbench.volume();
    described = await workbench.perl(from, MAKE_DIFFICULT_FILES + DESCRIBE_FILES);
  });
  beforeEach(async () => {
    to = await workbench.volume();
  });
  afterAll(async () => {
    await workbench.cleanUp();
    await sandbox.cleanUp();
  });

  it('must keep whatever a file can be, and nothing else in the target', async () => {
    expect(described.split('\n').length).toBeGreaterThan(50);
    for (const trait of ['user.note=6100620a3dff', 'security.capability=', 'system.posix_acl_access=', '06755'])
      expect(described).toContain(trait.replace(/^0/, ''));
    const measured = await engine.volumes.measure({ name: from, image, owner });
    const progress: CopyProgress[] = [];
    const copied = await engine.volumes.copy({ from, to, image, owner, onProgress: (report) => progress.push(report) });
    expect(await workbench.perl(to, DESCRIBE_FILES)).toBe(described);
    // The source is as it was, and the holes are holes.
    expect(await workbench.perl(from, DESCRIBE_FILES)).toBe(described);
    expect(copied.bytes).toBeGreaterThan(16 * 2 ** 20);
    expect(copied.bytes).toBeLessThan(20 * 2 ** 20);
    expect(Math.abs((measured?.bytes ?? 0) - copied.bytes)).toBeLessThan(2 ** 20);
    const percents = progress.map(({ percent }) => percent);
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
    expect([percents[0], percents.at(-1)]).toEqual([0, 100]);

    // All of it is removed from a target. Attributes of the root alone would stay: tar adds to them.
    const forget = `my ($p, $n) = ('.', 'user.root'); syscall(qx(uname -m) =~ /aarch64/ ? 14 : 197, $p, $n) == 0 or die;`;
    await workbench.perl(
      to,
      `chdir '/d'; ${forget} mkdir 'more'; open F, '>', "more/\\xff\\n"; chmod 0, 'more'; unlink 'plain'`,
    );
    const small = await workbench.volume();
    await workbench.perl(small, `open F, '>', '/d/only'; print F 'this'`);
    await engine.volumes.copy({ from: small, to, image, owner });
    expect(await workbench.perl(to, DESCRIBE_FILES)).toBe(await workbench.perl(small, DESCRIBE_FILES));
  });

  describe('on a file system with reflinks', () => {
    const disk = new ReflinkDisk();
    const options = [disk.volumeOptions(), disk.volumeOptions()];
    let [source, target, content] = ['', '', ''];

    beforeAll(async () => {
      source = await workbench.volume(options[0]);
      target = await workbench.volume(options[1]);
      const big = `open F, '>', '/d/big'; print F 'x' x 40_000_000; close F;`;
      content = await workbench.perl(source, MAKE_DIFFICULT_FILES + big + DESCRIBE_FILES);
    });
    // After the volumes, which are mounted from it.
    afterAll(async () => {
      for (const name of [source, target]) await engine.volumes.remove(name);
      disk.remove();
    });

    it('must share the blocks of its source, and keep whatever a file can be', async () => {
      const before = disk.used;
      const copied = await engine.volumes.copy({ from: source, to: target, image, owner });
      expect(copied.isReflink).toBe(true);
      expect(copied.bytes).toBeGreaterThan(40_000_000);
      expect(disk.used - before).toBeLessThan(10_000_000);
      expect(await workbench.perl(target, DESCRIBE_FILES)).toBe(content);
      // Both sides go on by themselves.
      await workbench.perl(target, `open F, '+<', '/d/big'; print F 'y'`);
      expect(await workbench.perl(source, `open F, '<', '/d/big'; print getc F`)).toBe('x');
    });

    it('must copy byte by byte from another file system', async () => {
      const small = await workbench.volume();
      await workbench.perl(small, `open F, '>', '/d/only'; print F 'this'`);
      const fresh = await workbench.volume(disk.volumeOptions());
      expect(await engine.volumes.copy({ from: small, to: fresh, image, owner })).toMatchObject({ isReflink: false });
      expect(await workbench.perl(fresh, `opendir D, '/d'; print grep { !/^\\./ } readdir(D)`)).toBe('only');
      await engine.volumes.remove(fresh);
    });
  });

  describe('to another machine', () => {
    const { volumes } = sandbox.dockerEngine();
    const pass = (copy: Partial<VolumeCopy>): Promise<{ bytes: number }> =>
      transferVolume(volumes, volumes, { from, to, image, owner, ...copy });

    it('must keep whatever a file can be', async () => {
      await workbench.perl(to, `open F, '>', '/d/left over'; mkdir '/d/plain'`);
      const progress: CopyProgress[] = [];
      const { bytes } = await pass({ onProgress: (report) => progress.push(report) });
      expect(await workbench.perl(to, DESCRIBE_FILES)).toBe(described);
      expect(await workbench.perl(from, DESCRIBE_FILES)).toBe(described);
      expect(bytes).toBeGreaterThan(16 * 2 ** 20);
      expect(bytes).toBeLessThan(20 * 2 ** 20);
      const percents = progress.map(({ percent }) => percent);
      expect(percents).toEqual([...percents].sort((a, b) => a - b));
      expect([percents[0], percents.at(-1)]).toEqual([0, 100]);
    });

    it('must keep what is empty, and not read for ever what is one hole', async () => {
      const [empty, hole] = [await workbench.volume(), await workbench.volume()];
      await workbench.perl(hole, `open F, '>', '/d/vast'; print F 'begin'; truncate F, 2**43`);
      for (const source of [empty, hole]) {
        await pass({ from: source });
        const look = 'print join "|", map { $_ . (-s $_) } </d/*>';
        expect(await workbench.perl(to, look)).toBe(await workbench.perl(source, look));
      }
    });

    it('must be found to differ where the copy is changed before it is compared', async () => {
      const changing = Object.create(volumes) as TransferringVolumes;
      changing.receive = async (...args) => {
        await volumes.receive(...args);
        await workbench.perl(to, `system 'chmod u-w /d/plain'`);
      };
      const copying = transferVolume(volumes, changing, { from, to, image, owner });
      await expect(copying).rejects.toMatchObject({ code: 'copy_failed', message: expect.stringMatching(/differs/) });
    });

    it('must say that the target is full', async () => {
      const tiny = await workbench.volume({ type: 'tmpfs', device: 'tmpfs', o: 'size=4m' });
      await expect(pass({ to: tiny })).rejects.toMatchObject({ code: 'data_too_large' });
      expect(await sandbox.real.containersOf(owner.containerId)).toEqual([]);
    });

    it('must end on both sides when it is aborted, or one side fails', async () => {
      // Docker may still be at their removal, which somebody else has begun.
      const expectNoWorker = (): Promise<void> =>
        eventually(async () => expect(await sandbox.real.containersOf(owner.containerId)).toEqual([]));
      const abort = new AbortController();
      const onProgress = (): void => abort.abort();
      await expect(pass({ onProgress, signal: abort.signal })).rejects.toMatchObject({ code: 'aborted' });
      await expectNoWorker();
      const broken = Object.create(volumes) as TransferringVolumes;
      broken.send = (_volume, output) => {
        output.write(Buffer.alloc(100_000));
        return Promise.reject(new EngineError('docker_unavailable', 'injected'));
      };
      const copying = transferVolume(broken, volumes, { from, to, image, owner });
      await expect(copying).rejects.toMatchObject({ code: 'docker_unavailable' });
      await expectNoWorker();
    });

    it('must not make a volume that is not there', async () => {
      const missing = `berth-test-${randomUUID()}`;
      for (const copy of [{ from: missing }, { to: missing }])
        await expect(pass(copy)).rejects.toMatchObject({ code: 'docker_error' });
      expect(await sandbox.real.volumeExists(missing)).toBe(false);
    });
  });

  describe('to which something happens', () => {
    let source: string;
    let tampering: string;

    beforeAll(async () => {
      tampering = await workbench.imageWithTamperingTar();
    });
    /** Makes the source, and what is done to its copy before the two are compared. */
    async function tamperWith(program: string): Promise<void> {
      source = await workbench.volume();
      await workbench.perl(
        source,
        `open F, '>', '/d/file'; print F 'x' x 100000; close F; ${setNote('/d/file', 'value')}; link '/d/file', '/d/other';
         system 'mkfifo /d/fifo; mkdir /d/empty; touch -d 2001-02-03T04:05:06.123456789Z /d/file';
         open F, '>', '/d/.after'; print F q{chdir '/to'; ${program}}`,
      );
    }

    const DIFFERENCES: readonly [string, string][] = [
      ['a byte', `open F, '+<', 'file'; seek F, 77777, 0; print F 'y'; close F; system 'touch -r /from/file file'`],
      ['an attribute', setNote('file', 'Value')],
      ['a mode', `chmod 0600, 'file'`],
      ['a nanosecond', `system 'touch -d 2001-02-03T04:05:06.123456788Z file'`],
      ['a link that is a file', `system 'cp -p file copy; mv copy other'`],
      ['a file too many', `system 'touch -r /from extra; touch -r /from .'`],
      ['the root', `chmod 0700, '.'`],
    ];

    it.each(DIFFERENCES)('must be found to differ in %s', async (_what, program) => {
      await tamperWith(program);
      const copying = engine.volumes.copy({ from: source, to, image: tampering, owner });
      await expect(copying).rejects.toMatchObject({ code: 'copy_failed', message: expect.stringMatching(/differs/) });
    });

    it('must be found to be the same if a part of a large hole is written as zeros', async () => {
      source = await workbench.volume();
      const zeros = `open F, '+<', 'file'; seek F, 2**30, 0; print F "\\0" x 65536; close F; system 'touch -r /from/file file'`;
      await workbench.perl(
        source,
        `open F, '>', '/d/file'; print F 'begin'; truncate F, 2**30 + 2**20; close F;
         open F, '>', '/d/.after'; print F q{chdir '/to'; ${zeros}}`,
      );
      await engine.volumes.copy({ from: source, to, image: tampering, owner });
      const look = `open F, '/d/file'; read F, $begin, 5; seek F, 2**30, 0; read F, $rest, 65536; print -s F, $begin, $rest =~ tr/\\0//`;
      expect(await workbench.perl(to, look)).toBe(`${String(2 ** 30 + 2 ** 20)}begin65536`);
    });
  });

  it('must know the size of a copy whose last report Docker dropped', async () => {
    const clients = connectToDocker();
    const streams = Object.create(clients.streams) as typeof clients.streams;
    let dropped = 0;
    streams.createContainer = async (options: ContainerCreateOptions) => {
      const container = await clients.streams.createContainer(options);
      const attach = container.attach.bind(container);
      container.attach = (async (...args: Parameters<typeof attach>) => {
        const whole = await attach(...args);
        if (dropped === 2) return whole;
        dropped += 1;
        return whole.pipe(withoutReports());
      }) as typeof attach;
      return container;
    };
    const small = await workbench.volume();
    await workbench.perl(small, `open F, '>', '/d/only'; print F 'x' x 100000`);
    const progress: CopyProgress[] = [];
    const onProgress = (report: CopyProgress): number => progress.push(report);
    try {
      const copy = { from: small, to, image, owner, onProgress };
      const { bytes } = await copyVolume({ ...clients, streams }, copy, 10_000);
      expect(bytes).toBeGreaterThan(100_000);
      expect([dropped, progress.at(-1)?.percent]).toEqual([2, 100]);
    } finally {
      clients.close();
    }
  });

  const expectHole = async (power: number): Promise<void> => {
    const source = await workbench.volume();
    await workbench.perl(source, `open F, '>', '/d/vast'; print F 'begin'; truncate F, 2**${String(power)}`);
    await engine.volumes.copy({ from: source, to, image, owner });
    const look = `open F, '/d/vast'; read F, $begin, 5; print -s F, " $begin"`;
    expect(await workbench.perl(to, look)).toBe(`${String(2 ** power)} begin`);
  };
  it('must not read for ever what is one hole of 2^36 bytes', () => expectHole(36));
  it('must not read for ever what is one hole of 2^43 bytes', () => expectHole(43));

  it('must say that the target is full', async () => {
    const tiny = await workbench.volume({ type: 'tmpfs', device: 'tmpfs', o: 'size=4m' });
    await expect(engine.volumes.copy({ from, to: tiny, image, owner })).rejects.toMatchObject({
      code: 'data_too_large',
    });
  });

  it('must end when it is aborted, and leave no container, whatever an earlier one left', async () => {
    const name = `berth-${owner.containerId}-move`;
    await sandbox.real.docker.createContainer({ name, Image: image, Labels: { 'berth.instance': sandbox.instance } });
    const abort = new AbortController();
    const onProgress = (): void => abort.abort();
    const copying = engine.volumes.copy({ from, to, image, owner, onProgress, signal: abort.signal });
    await expect(copying).rejects.toMatchObject({ code: 'aborted' });
    expect(await sandbox.real.containersOf(owner.containerId)).toEqual([]);
  });

  it('must leave no container where it is aborted before that runs, and writes a lot', async () => {
    const clients = connectToDocker();
    const abort = new AbortController();
    const streams = Object.create(clients.streams) as typeof clients.streams;
    streams.createContainer = async (options: ContainerCreateOptions) => {
      const container = await clients.streams.createContainer(options);
      abort.abort();
      return container;
    };
    const work = { image, script: 'cat /dev/zero', mounts: [], owner };
    const run = { name: `berth-${owner.containerId}-send`, output: new PassThrough(), timeoutMs: 5_000 };
    try {
      const running = runVolumeWorker({ ...clients, streams }, work, { ...run, signal: abort.signal });
      await expect(running).rejects.toMatchObject({ code: 'aborted' });
      expect(await sandbox.real.containersOf(owner.containerId)).toEqual([]);
    } finally {
      clients.close();
    }
  });

  it('must be given up when it hangs', async () => {
    const clients = connectToDocker();
    const work = { image, script: 'echo begun; sleep 1000', mounts: [], owner };
    const run = {
      name: `berth-${owner.containerId}-move`,
      onReport: () => undefined,
      timeoutMs: 10_000,
      stallMs: 3_000,
    };
    try {
      await expect(runVolumeWorker(clients, work, run)).rejects.toMatchObject({ code: 'docker_unavailable' });
      expect(await sandbox.real.containersOf(owner.containerId)).toEqual([]);
    } finally {
      clients.close();
    }
  });

  it('must not make a volume that is not there', async () => {
    const missing = `berth-test-${randomUUID()}`;
    expect(await engine.volumes.measure({ name: missing, image, owner })).toBeNull();
    for (const copy of [
      { from: missing, to },
      { from, to: missing },
    ]) {
      await expect(engine.volumes.copy({ ...copy, image, owner })).rejects.toMatchObject({ code: 'docker_error' });
    }
    expect(await sandbox.real.volumeExists(missing)).toBe(false);
  });

  it('must find an image that lacks GNU tar before it is needed', async () => {
    const measuring = engine.volumes.measure({ name: from, image: TEST_IMAGE, owner });
    await expect(measuring).rejects.toMatchObject({ message: expect.stringMatching(/needs GNU tar/) });
  });

  it('must be listed as the volume of its container alone', async () => {
    const { items: listed } = await engine.volumes.list({ instance: sandbox.instance, containerId: owner.containerId });
    expect(listed).toContainEqual({ name: to, containerId: owner.containerId, labelled: true });
    expect(await engine.volumes.list({ instance: sandbox.instance, containerId: randomUUID() })).toEqual({
      items: [],
      silent: [],
    });
  });
});
