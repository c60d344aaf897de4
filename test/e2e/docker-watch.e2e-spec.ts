import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EngineEvent, WatchMessage } from '../../src/engine';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';

jest.setTimeout(120_000);

/** A wire between the engine and Docker that can be cut. */
class Wire {
  /** While true, every new connection is cut at once. */
  down = false;
  private readonly path = join(tmpdir(), `berth-wire-${randomUUID()}.sock`);
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((near) => {
    if (this.down) {
      near.destroy();
      return;
    }
    const far = connect((process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock').replace('unix://', ''));
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        this.sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });

  get dockerHost(): string {
    return `unix://${this.path}`;
  }

  open(): Promise<void> {
    return new Promise((resolve) => this.server.listen(this.path, resolve));
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
    await rm(this.path, { force: true });
  }
}

/** Follows a watch to its end and keeps what it yields. */
class Watching {
  readonly messages: WatchMessage[] = [];
  readonly ended: Promise<void>;
  private readonly abort = new AbortController();

  constructor(watch: (signal: AbortSignal) => AsyncIterable<WatchMessage>) {
    this.ended = this.follow(watch(this.abort.signal));
  }

  get connections(): number {
    return this.messages.filter(({ kind }) => kind === 'connected').length;
  }

  eventsOf(engineId: string): EngineEvent[] {
    return this.messages.flatMap((message) =>
      message.kind === 'event' && message.event.engineId === engineId ? [message.event] : [],
    );
  }

  /** But for signals, of which a stop sends as many as it needs. */
  actionsOf(engineId: string): string[] {
    return this.eventsOf(engineId)
      .map(({ action }) => action)
      .filter((action) => action !== 'kill');
  }

  async stop(): Promise<void> {
    this.abort.abort();
    await this.ended;
  }

  private async follow(watch: AsyncIterable<WatchMessage>): Promise<void> {
    for await (const message of watch) this.messages.push(message);
  }
}

describe('watching a real Docker', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();
  const wire = new Wire();
  let watching: Watching;

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    await wire.open();
  });
  beforeEach(async () => {
    const proxied = sandbox.engine({ DOCKER_HOST: wire.dockerHost });
    watching = new Watching((signal) => proxied.containers.watch(sandbox.instance, signal));
    await eventually(() => expect(watching.messages[0]).toEqual({ kind: 'connected', node: null }));
  });
  afterEach(() => watching.stop());
  afterAll(async () => {
    await sandbox.cleanUp();
    await wire.close();
  });

  it('must report a start, an end and a removal, of its own instance alone', async () => {
    const spec = sandbox.spec();
    const stranger = sandbox.spec({ owner: { ...spec.owner, instance: `${sandbox.instance}-other` } });
    const engineId = await sandbox.running(engine, spec);
    const strangerId = await sandbox.running(engine, stranger);
    await sandbox.real.docker.getContainer(engineId).kill();
    await sandbox.real.removeInstance(stranger.owner.instance);
    await engine.containers.remove(engineId);
    await eventually(() => expect(watching.actionsOf(engineId)).toEqual(['start', 'die', 'destroy']));
    const [, kill, die] = watching.eventsOf(engineId);
    expect(kill).toMatchObject({ action: 'kill', exitCode: null });
    expect(die).toMatchObject({ action: 'die', exitCode: 137, containerId: spec.owner.containerId });
    expect(Math.abs(Date.now() - (watching.eventsOf(engineId)[0]?.at.getTime() ?? 0))).toBeLessThan(60_000);
    expect(watching.actionsOf(strangerId)).toEqual([]);
  });

  it('must report a container that was killed for its memory', async () => {
    const engineId = await sandbox.running(engine, sandbox.spec());
    await sandbox.real.exec(engineId, ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=600M', 'count=1']);
    await eventually(() => expect(watching.actionsOf(engineId)).toEqual(['start', 'oom', 'die', 'start']), {
      timeoutMs: 30_000,
    });
    expect(watching.eventsOf(engineId)[2]).toMatchObject({ exitCode: 137 });
    await engine.containers.remove(engineId);
  });

  it('must miss nothing and repeat nothing when the connection is cut', async () => {
    const engineId = await sandbox.running(engine, sandbox.spec());
    await eventually(() => expect(watching.actionsOf(engineId)).toEqual(['start']));
    wire.cut();
    await engine.containers.stop(engineId, 1);
    await engine.containers.start(engineId);
    await eventually(() => expect(watching.actionsOf(engineId)).toEqual(['start', 'die', 'start']));
    expect(watching.connections).toBe(2);
    await engine.containers.remove(engineId);
  });

  it('must come back by itself when Docker was away', async () => {
    const engineId = await sandbox.running(engine, sandbox.spec());
    await eventually(() => expect(watching.actionsOf(engineId)).toEqual(['start']));
    wire.down = true;
    wire.cut();
    await engine.containers.remove(engineId);
    wire.down = false;
    await eventually(() => expect(watching.actionsOf(engineId)).toEqual(['start', 'die', 'destroy']));
    expect(watching.connections).toBe(2);
  });

  it('must end when it is asked to', async () => {
    await watching.stop();
    await expect(watching.ended).resolves.toBeUndefined();
  });
});
