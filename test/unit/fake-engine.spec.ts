import type { ContainerSpec, WatchMessage } from '../../src/engine';
import { smallestSpec } from '../support/docker/smallest-spec';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine, ProcessDeath } from '../support/fakes/fake-engine';

const specOf = (): ContainerSpec => smallestSpec({ instance: 'test' });

async function runningOn(engine: FakeEngine, spec: ContainerSpec): Promise<string> {
  await engine.volumes.ensure({ name: spec.volumeName, diskMb: spec.diskMb, owner: spec.owner });
  const engineId = await engine.containers.create(spec);
  await engine.containers.start(engineId);
  return engineId;
}

describe('the fake engine', () => {
  it('must notice two containers that run on one volume', async () => {
    const engine = new FakeEngine();
    const spec = specOf();
    await runningOn(engine, spec);
    expect(engine.daemon.violations).toEqual([]);
    const second = await engine.containers.create({ ...spec, name: `${spec.name}-g2` });
    await engine.containers.start(second);
    expect(engine.daemon.violations).toHaveLength(1);
  });

  it('must fail the call that was chosen, before or after it took effect', async () => {
    const engine = new FakeEngine();
    const spec = specOf();
    engine.failOn('containers.create', { call: 2 });
    engine.failOn('containers.create', { call: 3, when: 'after' });
    await engine.containers.create(spec);
    await expect(engine.containers.create(specOf())).rejects.toMatchObject({ code: 'docker_unavailable' });
    expect(engine.daemon.containers.size).toBe(1);
    await expect(engine.containers.create(specOf())).rejects.toMatchObject({ code: 'docker_unavailable' });
    expect(engine.daemon.containers.size).toBe(2);
    await engine.containers.create(specOf());
    expect(engine.callsOf('containers.create')).toBe(4);
  });

  it('must hold a call until it is released', async () => {
    const engine = new FakeEngine();
    const hold = engine.holdOn('containers.create', { when: 'after' });
    let isDone = false;
    const creation = engine.containers.create(specOf()).then(() => (isDone = true));
    await hold.reached;
    expect([engine.daemon.containers.size, isDone]).toEqual([1, false]);
    hold.release();
    await creation;
  });

  it('must let a dead process do nothing more, and the next one find what it left', async () => {
    const daemon = new FakeDaemon();
    const [first, next] = [new FakeEngine(daemon), new FakeEngine(daemon)];
    const died = first.dieOn('containers.create', { when: 'after' });
    void first.containers.create(specOf());
    await died;
    void first.containers.create(specOf());
    expect((await next.containers.list({ instance: 'test' })).items).toHaveLength(1);
    void next.dieOn('host.ping', { how: 'throw' });
    await expect(next.host.ping()).rejects.toThrow(ProcessDeath);
    await expect(next.host.ping()).rejects.toThrow(ProcessDeath);
  });

  it('must notify watchers of what happens behind the back', async () => {
    const engine = new FakeEngine();
    const abort = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      const describeMessage = (message: WatchMessage): string =>
        message.kind === 'event' ? message.event.action : message.kind;
      for await (const message of engine.containers.watch('test', abort.signal)) seen.push(describeMessage(message));
    })();
    const engineId = await runningOn(engine, specOf());
    engine.daemon.oom(engineId);
    engine.daemon.unwatched(() => engine.daemon.kill(engineId));
    engine.daemon.vanish(engineId);
    await engine.host.ping();
    abort.abort();
    await watching;
    expect(seen).toEqual(['connected', 'start', 'oom', 'die', 'start', 'connected', 'destroy']);
  });
});
