import { randomUUID } from 'node:crypto';
import type { ContainerSpec, WatchMessage } from '../../src/docker';
import { testImage } from '../support/clients/api-client';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine, ProcessDeath } from '../support/fakes/fake-engine';

function specOf(changes: Partial<ContainerSpec> = {}): ContainerSpec {
  const id = randomUUID();
  return {
    name: `berth-${id}`,
    image: testImage(),
    env: {},
    memoryMb: 256,
    cpuShares: 250,
    diskMb: 1024,
    network: 'internet',
    processes: 1024,
    volumeName: `berth-${id}`,
    owner: { instance: 'test', containerId: id, userId: 'u' },
    generation: 1,
    ...changes,
  };
}

async function runningOn(engine: FakeEngine, spec: ContainerSpec): Promise<string> {
  await engine.ensureVolume({ name: spec.volumeName, diskMb: spec.diskMb, owner: spec.owner });
  const dockerId = await engine.createContainer(spec);
  await engine.startContainer(dockerId);
  return dockerId;
}

describe('the fake engine', () => {
  it('must notice two containers that run on one volume', async () => {
    const engine = new FakeEngine();
    const spec = specOf();
    await runningOn(engine, spec);
    expect(engine.daemon.violations).toEqual([]);
    const second = await engine.createContainer({ ...spec, name: `${spec.name}-g2` });
    await engine.startContainer(second);
    expect(engine.daemon.violations).toHaveLength(1);
  });

  it('must fail the call that was chosen, before or after it took effect', async () => {
    const engine = new FakeEngine();
    const spec = specOf();
    engine.failOn('createContainer', { call: 2 });
    engine.failOn('createContainer', { call: 3, when: 'after' });
    await engine.createContainer(spec);
    await expect(engine.createContainer(specOf())).rejects.toMatchObject({ code: 'docker_unavailable' });
    expect(engine.daemon.containers.size).toBe(1);
    await expect(engine.createContainer(specOf())).rejects.toMatchObject({ code: 'docker_unavailable' });
    expect(engine.daemon.containers.size).toBe(2);
    await engine.createContainer(specOf());
    expect(engine.callsOf('createContainer')).toBe(4);
  });

  it('must hold a call until it is released', async () => {
    const engine = new FakeEngine();
    const hold = engine.holdOn('createContainer', { when: 'after' });
    let isDone = false;
    const creation = engine.createContainer(specOf()).then(() => (isDone = true));
    await hold.reached;
    expect([engine.daemon.containers.size, isDone]).toEqual([1, false]);
    hold.release();
    await creation;
  });

  it('must let a dead process do nothing more, and the next one find what it left', async () => {
    const daemon = new FakeDaemon();
    const [first, next] = [new FakeEngine(daemon), new FakeEngine(daemon)];
    const died = first.dieOn('createContainer', { when: 'after' });
    void first.createContainer(specOf());
    await died;
    void first.createContainer(specOf());
    expect((await next.listContainers({ instance: 'test' })).items).toHaveLength(1);
    void next.dieOn('ping', { how: 'throw' });
    await expect(next.ping()).rejects.toThrow(ProcessDeath);
    await expect(next.ping()).rejects.toThrow(ProcessDeath);
  });

  it('must notify watchers of what happens behind the back', async () => {
    const engine = new FakeEngine();
    const abort = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      const describeMessage = (message: WatchMessage): string =>
        message.kind === 'event' ? message.event.action : message.kind;
      for await (const message of engine.watch('test', abort.signal)) seen.push(describeMessage(message));
    })();
    const dockerId = await runningOn(engine, specOf());
    engine.daemon.oom(dockerId);
    engine.daemon.unwatched(() => engine.daemon.kill(dockerId));
    engine.daemon.vanish(dockerId);
    await engine.ping();
    abort.abort();
    await watching;
    expect(seen).toEqual(['connected', 'start', 'oom', 'die', 'start', 'connected', 'destroy']);
  });
});
