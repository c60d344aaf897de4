import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { type ContainerSpec, type EndedCall, EngineCalls } from '../engine';
import { DockerEngine } from './docker-engine';
import { SupervisorVolume } from './supervisor/supervisor-volume';
import { supervisorFile } from '../../test/support/docker/supervisor-file';

const spec: ContainerSpec = {
  name: 'berth-1',
  image: 'ubuntu:24.04',
  memoryMb: 256,
  cpuShares: 250,
  diskMb: 1024,
  network: 'internet',
  processes: 1024,
  volumeName: 'berth-1',
  owner: { instance: 'prod', containerId: 'c1', userId: 'u1' },
  generation: 1,
};

const isolation = { 'com.docker.network.bridge.enable_icc': 'false' };

/** An inspection of a container that was not started yet. */
const CREATED = {
  Id: 'f'.repeat(64),
  Name: '/x',
  Created: '2026-01-01T00:00:00Z',
  Image: 'sha256:i',
  State: { Status: 'created', Running: false, ExitCode: 0, StartedAt: '0001-01-01T00:00:00Z' },
  Config: { Env: [], Labels: {} },
  HostConfig: {},
  NetworkSettings: { Networks: {} },
};

/** A daemon that says what a test wants to every call. */
class StubDaemon {
  readonly path = join(tmpdir(), `berth-stub-${randomUUID()}.sock`);
  readonly urls: string[] = [];
  networks: object[] = [{ Name: 'berth-prod', Id: 'n1', Created: '1', Driver: 'bridge', Options: isolation }];
  /** How often a container that somebody else is removing is still found. */
  goingFor = 0;
  /** The files of any container. */
  files: readonly string[] = ['/bin/sh'];
  /** The label of the user of the container that is there. */
  user = '0';
  /** The status of that container. */
  status = 'created';
  /** Those of the commands that were created. */
  readonly execUsers: string[] = [];
  private readonly server = createServer((request, response) => {
    const url = `${request.method ?? ''} ${request.url ?? ''}`;
    this.urls.push(url);
    if (url.endsWith('/exec')) void json(request).then((body) => this.execUsers.push((body as { User: string }).User));
    else request.resume();
    response.setHeader('content-type', 'application/json');
    if (url.startsWith('GET /info')) response.end(JSON.stringify({ Runtimes: { runsc: {} } }));
    else if (url.startsWith('GET /containers/huge/')) response.end(`{"Labels":{"x":"${'x'.repeat(32 * 2 ** 20)}"}}`);
    else if (url.startsWith('GET /images/')) response.end(JSON.stringify({ Id: 'sha256:i', Config: {} }));
    else if (url.startsWith('GET /containers/ffff'))
      response.end(
        JSON.stringify({
          ...CREATED,
          State: { ...CREATED.State, Status: this.status, Running: true, Paused: false },
          Config: { Env: ['HOME=/home/user'], Labels: { 'berth.user': this.user, 'berth.supervisor': '1' } },
        }),
      );
    else if (url.startsWith('HEAD /containers/')) response.writeHead(this.has(url) ? 200 : 404).end();
    else if (url.startsWith('GET /networks')) response.end(JSON.stringify(this.networks));
    else if (url.startsWith('DELETE') && this.goingFor > 0) {
      response.writeHead(409).end('{"message":"removal of container x is already in progress"}');
    } else if (url.startsWith('GET /containers/x/')) {
      this.goingFor -= 1;
      response.writeHead(this.goingFor < 0 ? 404 : 200).end('{"message":"no such container"}');
    } else if (/^POST .*\/(stop|unpause)(\?|$)/.test(url)) response.writeHead(204).end();
    else if (url.startsWith('POST')) response.writeHead(201).end(JSON.stringify({ Id: 'f'.repeat(64) }));
    else response.writeHead(204).end();
  });

  private has(url: string): boolean {
    return this.files.includes(new URLSearchParams(url.replace(/.*\?/, '')).get('path') ?? '');
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.server.listen(this.path, resolve));
  }

  /** Closes every connection. */
  cut(): void {
    this.server.closeAllConnections();
  }

  close(): Promise<unknown> {
    return new Promise((resolve) => this.server.close(resolve));
  }
}

describe('DockerEngine', () => {
  let daemon: StubDaemon;
  let engine: DockerEngine;
  let calls: EngineCalls;

  beforeEach(async () => {
    daemon = new StubDaemon();
    await daemon.listen();
    calls = new EngineCalls();
    engine = engineThatWaits(60);
    // Its calls would be among those that are looked at.
    jest.spyOn(SupervisorVolume.prototype, 'name').mockResolvedValue('berth-supervisor-1');
    jest.spyOn(SupervisorVolume.prototype, 'ensure').mockResolvedValue({ volume: 'berth-supervisor-1', device: '/' });
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    engine.onApplicationShutdown();
    await daemon.close();
  });

  function engineThatWaits(seconds: number): DockerEngine {
    const settings = { DOCKER_HOST: `unix://${daemon.path}`, DOCKER_TIMEOUT_SECONDS: seconds } as const;
    const firewall = { SANDBOX_FIREWALL: 'off' as const, SANDBOX_BLOCKED_NETWORKS: [], SANDBOX_ALLOWED_SERVICES: [] };
    const networks = {
      SANDBOX_NETWORK_SIZE: 900,
      SANDBOX_SUBNETS: [],
      SANDBOX_DNS: [],
      SUPERVISOR_CHANNELS: 256,
      SUPERVISOR_FILE: supervisorFile(),
    };
    return new DockerEngine(
      { ...settings, ...firewall, ...networks, SANDBOX_RUNTIME: 'runsc', DISK_QUOTA: 'off' },
      calls,
    );
  }

  it('must keep a user’s environment out of URLs, which proxies and daemons log', async () => {
    await engine.host.prepare('prod');
    const id = await engine.containers.create(spec);
    const request = { command: ['true'], env: { API_KEY: 'hunter2' }, timeoutMs: 5_000, maxOutputBytes: 1 };
    await expect(engine.programs.run(id, request)).rejects.toThrow();
    expect(daemon.urls).toContain('POST /containers/create?name=berth-1');
    expect(daemon.urls).toContain(`POST /containers/${id}/exec`);
    expect(daemon.urls.join()).not.toMatch(/hunter2/);
  });

  it('must ask nothing of an image that was just looked up, by its id, nor of a volume that is new', async () => {
    await engine.host.prepare('prod');
    const { id } = await engine.images.ensure('ubuntu:24.04');
    expect(daemon.urls.splice(0).at(-1)).toBe('GET /images/ubuntu:24.04/json');
    await engine.volumes.ensure({ name: spec.volumeName, diskMb: 1024, owner: spec.owner, isNew: true });
    for (const _time of [1, 2]) await engine.containers.create({ ...spec, image: id });
    expect(daemon.urls.map((url) => url.replace(/\?.*/, ''))).toEqual([
      'POST /volumes/create',
      'POST /containers/create',
      'POST /containers/create',
    ]);
  });

  describe('a connection that was closed while it was idle', () => {
    const volume = { name: 'berth-1', diskMb: 1024, owner: spec.owner, isNew: true };

    /** Makes a connection, lets it be idle for so long, and has the daemon close it: the process reads that later. */
    async function idleFor(ms: number): Promise<void> {
      await engine.host.prepare('prod');
      await Promise.all([1, 2, 3].map(() => engine.containers.inspect('f'.repeat(64))));
      // Agents keep a connection a turn after its answer.
      await new Promise((resolve) => setImmediate(resolve));
      const now = performance.now.bind(performance);
      jest.spyOn(performance, 'now').mockImplementation(() => now() + ms);
      daemon.urls.splice(0);
      daemon.cut();
    }
    afterEach(() => jest.restoreAllMocks());

    it('must cost nothing, for a question or for what may be done twice', async () => {
      await idleFor(2_000);
      await engine.volumes.ensure(volume);
      expect(daemon.urls).toEqual([expect.stringMatching(/^POST \/volumes\/create/)]);
      expect(await engine.containers.inspect('f'.repeat(64))).toMatchObject({ state: 'created' });
    });
  });

  it('must not let an id lead to another path', async () => {
    await engine.host.prepare('prod');
    await engine.containers.remove('../images/x?force=1');
    expect(daemon.urls.at(-1)).toMatch(/^DELETE \/containers\/\.\.%2Fimages%2Fx%3Fforce%3D1\?/);
  });

  it('must have removed a container only when its name is free, whoever removes it', async () => {
    await engine.host.prepare('prod');
    daemon.goingFor = 2;
    await engine.containers.remove('x');
    expect(daemon.goingFor).toBe(-1);
  });

  it('must break off an answer that an image has made huge', async () => {
    await engine.host.prepare('prod');
    await expect(engine.containers.inspect('huge')).rejects.toMatchObject({
      code: 'docker_error',
      message: expect.stringContaining('is larger than') as string,
    });
  });

  it('must not wait for ever for a removal that does not end', async () => {
    const hasty = engineThatWaits(1);
    daemon.goingFor = Infinity;
    await expect(hasty.containers.remove('x')).rejects.toMatchObject({ code: 'docker_unavailable' });
    hasty.onApplicationShutdown();
  });

  it('must refuse a network in which sandboxes could reach each other', async () => {
    daemon.networks = [{ Name: 'berth-prod', Id: 'n1', Created: '1', Driver: 'bridge', Options: {} }];
    await expect(engine.host.prepare('prod')).rejects.toMatchObject({
      code: 'docker_error',
      message: expect.stringMatching(/berth-prod is not isolated/) as string,
    });
  });

  it('must refuse a network with IPv6, which the rules for sandboxes close', async () => {
    const network = { Name: 'berth-prod', Id: 'n1', Created: '1', Driver: 'bridge', Options: isolation };
    daemon.networks = [{ ...network, EnableIPv6: true }];
    await expect(engine.host.prepare('prod')).rejects.toMatchObject({
      message: expect.stringMatching(/has IPv6/) as string,
    });
  });

  it('must keep the oldest of networks that several processes made at once', async () => {
    const network = (Id: string, Created: string): object => ({
      Name: 'berth-prod',
      Id,
      Created,
      Driver: 'bridge',
      Options: isolation,
    });
    daemon.networks = [network('n2', '2'), { ...network('n0', '0'), Name: 'berth-prod-2' }, network('n1', '1')];
    await engine.host.prepare('prod');
    expect(daemon.urls.filter((url) => url.startsWith('DELETE'))).toEqual(['DELETE /networks/n2']);
  });

  it('must report of each call what was asked for, what came of it and how long it took', async () => {
    const ended: EndedCall[] = [];
    calls.onEnded((call) => ended.push(call));
    await engine.host.prepare('prod');
    await engine.containers.create(spec);
    await daemon.close();
    await expect(engine.host.ping()).rejects.toMatchObject({ code: 'docker_unavailable' });
    expect(ended.map(({ call, outcome }) => `${call}: ${outcome}`)).toEqual([
      'probe: ok',
      'network: ok',
      'probe: ok',
      'inspect image: ok',
      'create container: ok',
      'ping: docker_unavailable',
    ]);
    for (const { seconds } of ended) expect(seconds).toBeGreaterThan(0);
  });

  it('must say so when it is used before it is prepared', async () => {
    await expect(engine.containers.create(spec)).rejects.toMatchObject({ name: 'EngineError' });
  });

  describe('a stop that is expected', () => {
    const engineId = 'f'.repeat(64);

    beforeEach(() => engine.host.prepare('prod'));

    const askedOfIt = (): string[] =>
      daemon.urls.flatMap((url) => new RegExp(`${engineId}/(\\w+)`).exec(url)?.[1] ?? []);

    it.each<[string, string[]]>([
      ['running', ['json', 'stop']],
      ['paused', ['json', 'unpause', 'stop']],
    ])('must go by what was seen when it was said, of one that is %s', async (status, asked) => {
      daemon.status = status;
      await engine.containers.expectStop(engineId);
      await engine.containers.stop(engineId, 1);
      expect(askedOfIt()).toEqual(asked);
    });

    it('must look again later, and for each further one', async () => {
      daemon.status = 'running';
      await engine.containers.expectStop(engineId);
      const now = performance.now();
      const clock = jest.spyOn(performance, 'now').mockReturnValue(now + 1_000);
      daemon.status = 'paused';
      await engine.containers.stop(engineId, 1);
      clock.mockRestore();
      expect(askedOfIt().filter((asked) => asked !== 'json')).toEqual(['unpause', 'stop']);
      await engine.containers.expectStop(engineId);
      await engine.containers.stop(engineId, 1);
      await engine.containers.stop(engineId, 1);
      expect(askedOfIt().filter((asked) => asked === 'json')).toHaveLength(4);
    });
  });
});
