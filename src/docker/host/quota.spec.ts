import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectDocker, type DockerClients } from '../connection/client';
import { listProbes, probeDiskQuota, removeProbes } from './quota';

const XFS = { Driver: 'overlay2', DriverStatus: [['Backing Filesystem', 'xfs']] };
const YEAR_2000 = 946_684_800;

/** As much of Docker as a probe talks to. Real quotas need a file system that few machines have. */
class QuotaDaemon {
  readonly path = join(tmpdir(), `berth-quota-${randomUUID()}.sock`);
  readonly calls: string[] = [];
  refuses: string | null = null;
  leftovers: { container: object[]; volumes: object[] | null; images: object[] } = {
    container: [],
    volumes: null,
    images: [],
  };
  private readonly server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://docker');
    const call = `${request.method ?? ''} ${pathname.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, 'UUID')}`;
    this.calls.push(call);
    request.resume();
    const [status, body] = this.answer(call);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });

  listen(): Promise<void> {
    return new Promise((resolve) => this.server.listen(this.path, resolve));
  }

  close(): Promise<unknown> {
    return new Promise((resolve) => this.server.close(resolve));
  }

  private answer(call: string): [number, unknown] {
    if (call === this.refuses) return [400, { message: 'quota size requested but no quota support' }];
    if (call === 'GET /containers/json') return [200, this.leftovers.container];
    if (call === 'GET /volumes') return [200, { Volumes: this.leftovers.volumes }];
    if (call === 'GET /images/json') return [200, this.leftovers.images];
    if (call === 'POST /images/create') return [200, { status: 'sha256:x' }];
    return call.startsWith('POST') ? [201, { Id: 'x', Name: 'x' }] : [200, []];
  }
}

describe('the probe of disk quotas', () => {
  let daemon: QuotaDaemon;
  let docker: DockerClients;

  beforeEach(async () => {
    daemon = new QuotaDaemon();
    await daemon.listen();
    docker = connectDocker(`unix://${daemon.path}`, { timeoutMs: 60_000 });
  });
  afterEach(async () => {
    docker.close();
    await daemon.close();
  });

  const probe = (wanted: 'required' | 'preferred' | 'off', info: unknown = XFS) =>
    probeDiskQuota(docker.calls, {
      wanted,
      instance: 'prod',
      process: 'p1',
      info,
      signal: AbortSignal.timeout(60_000),
    });

  it('must say enforced where a volume and a writable layer can both be limited, and leave nothing', async () => {
    expect(await probe('required')).toBe('enforced');
    expect(daemon.calls.slice(3)).toEqual([
      'POST /volumes/create',
      'POST /images/create',
      'POST /containers/create',
      'DELETE /containers/berth-probe-UUID',
      'DELETE /volumes/berth-probe-UUID',
      'DELETE /images/berth/quota-probe:UUID',
    ]);
  });

  it.each(['POST /volumes/create', 'POST /containers/create'])(
    'must say unsupported where Docker refuses %s',
    async (call) => {
      daemon.refuses = call;
      expect(await probe('preferred')).toBe('unsupported');
      await expect(probe('required')).rejects.toThrow(/DISK_QUOTA=required.*no quota support.*prjquota/);
      expect(daemon.calls.filter((made) => made.startsWith('DELETE'))).toHaveLength(6);
    },
  );

  it.each([
    ['another file system', { ...XFS, DriverStatus: [['Backing Filesystem', 'extfs']] }],
    ['another storage driver', { ...XFS, Driver: 'overlayfs' }],
    ['a Docker that does not tell', {}],
  ])('must not even try on %s', async (_what, info) => {
    expect(await probe('preferred', info)).toBe('unsupported');
    await expect(probe('required', info)).rejects.toThrow(/prjquota/);
    expect(daemon.calls).toEqual([]);
  });

  it("must say what to do where containerd's image store would ignore the size of a container", async () => {
    // Docker 28.5 creates the container all the same.
    const info = { Driver: 'overlayfs', DriverStatus: [['driver-type', 'io.containerd.snapshotter.v1']] };
    expect(await probe('preferred', info)).toBe('unsupported');
    await expect(probe('required', info)).rejects.toThrow(
      /image store.*"containerd-snapshotter": false.*XFS mounted with the option prjquota/,
    );
    expect(daemon.calls).toEqual([]);
  });

  it('must do nothing where quotas are off', async () => {
    expect(await probe('off')).toBe('off');
    expect(daemon.calls).toEqual([]);
  });

  it('must remove what a killed probe left, but not what another process makes at this moment', async () => {
    const now = Date.now() / 1000;
    daemon.leftovers = {
      container: [
        { Id: 'old-container', Created: YEAR_2000 },
        { Id: 'new-container', Created: now },
      ],
      volumes: [
        { Name: 'old-volume', CreatedAt: '2000-01-01T00:00:00Z' },
        { Name: 'new-volume', CreatedAt: new Date().toISOString() },
      ],
      images: [
        { Id: 'old-image', Created: YEAR_2000 },
        { Id: 'new-image', Created: now },
      ],
    };
    await probe('preferred');
    expect(daemon.calls.filter((call) => /(old|new)-/.test(call))).toEqual([
      'DELETE /containers/old-container',
      'DELETE /volumes/old-volume',
      'DELETE /images/old-image',
    ]);
  });

  it('removes what dead processes left at once, the containers first, and nothing of another process', async () => {
    const made = (process: string) => ({ Created: Date.now() / 1000, Labels: { 'berth.process': process } });
    const volume = (Name: string, { Labels }: ReturnType<typeof made>) => ({
      Name,
      Labels,
      CreatedAt: new Date().toISOString(),
    });
    daemon.leftovers = {
      container: [
        { Id: 'dead-container', ...made('dead') },
        { Id: 'living-container', ...made('living') },
        { Id: 'sandbox', Created: 0, Labels: { 'berth.process': 'dead', 'berth.instance': 'prod' } },
      ],
      volumes: [volume('dead-volume', made('dead')), volume('living-volume', made('living'))],
      images: [
        { Id: 'dead-image', ...made('dead') },
        { Id: 'earlier-image', Created: Date.now() / 1000, Labels: null },
      ],
    };
    const signal = AbortSignal.timeout(60_000);
    const processes = (await listProbes(docker.calls, 'prod', signal)).map(({ process }) => process);
    expect(processes).toEqual(['dead', 'living', 'dead', 'living', 'dead', '']);
    await removeProbes(docker.calls, { instance: 'prod', signal, isLeft: ({ process }) => process === 'dead' });
    expect(daemon.calls.filter((call) => call.startsWith('DELETE'))).toEqual([
      'DELETE /containers/dead-container',
      'DELETE /volumes/dead-volume',
      'DELETE /images/dead-image',
    ]);
  });

  it('must fail, and not say unsupported, when Docker does not answer', async () => {
    await daemon.close();
    await expect(probe('preferred')).rejects.toMatchObject({
      code: expect.stringMatching(/ENOENT|ECONNREFUSED/) as string,
    });
  });
});
