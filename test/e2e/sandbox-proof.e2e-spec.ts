import { PROOF_CHECKS, proveSandbox } from '../../src/engine';
import { ApiClient } from '../support/clients/api-client';
import { Berth } from '../support/servers/berth';
import { BerthProcess } from '../support/servers/berth-process';
import { openTestDatabase } from '../support/databases/test-database';
import { EngineSandbox, TEST_IMAGE } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { OutsideWorld } from '../support/clients/outside-world';
import { inBoth, inMore, onlyQuick as it, RUNTIMES } from '../support/extent';
import { SecondDocker } from '../support/docker/second-docker';

jest.setTimeout(180_000);

describe('the proof of a sandbox at start', () => {
  const outside = new OutsideWorld();
  const sandbox = new EngineSandbox();
  const { docker } = sandbox.real;
  const { signal } = new AbortController();

  beforeAll(() => outside.start());
  afterAll(async () => {
    await sandbox.cleanUp();
    await outside.stop();
  });

  async function expectNothingLeft(instance: string): Promise<void> {
    const filters = { label: [`berth.probe=${instance}`] };
    expect(await docker.listContainers({ all: true, filters })).toEqual([]);
    expect((await docker.listVolumes({ filters })).Volumes).toEqual([]);
  }

  inBoth.each(RUNTIMES)('must find all well under %s, and leave nothing', async (runtime) => {
    const { instance } = sandbox;
    const engine = sandbox.engine({ SANDBOX_RUNTIME: runtime, SANDBOX_DNS: [outside.far] });
    await engine.host.prepare(instance);
    // A busy machine may answer a question for a name too late.
    await eventually(
      async () => {
        const report = await proveSandbox(engine, { instance, process: 'test', image: TEST_IMAGE, signal });
        expect(report).toEqual({ state: 'proved', faults: {}, untried: [], idleCores: expect.any(Number) });
        expect(report.idleCores).toBeGreaterThanOrEqual(0);
      },
      { timeoutMs: 90_000 },
    );
    await expectNothingLeft(instance);
    // Proved: no container is run for it any more, and so no image is needed.
    expect(await engine.layers.persist({ name: 'berth-test/none:1' })).toBe(true);
  });

  inMore('must say what to do where gVisor keeps the files outside the home in a file of its own', async () => {
    const { Runtimes } = (await docker.info()) as { Runtimes: { runsc: { path: string; runtimeArgs?: string[] } } };
    const { path, runtimeArgs = [] } = Runtimes.runsc;
    const own = { path, runtimeArgs: runtimeArgs.filter((argument) => !argument.startsWith('--overlay2')) };
    const second = await SecondDocker.start('data', { runtimes: { runsc: own } });
    try {
      await second.take(TEST_IMAGE, docker);
      const engine = sandbox.engine({
        DOCKER_HOST: second.host,
        SANDBOX_RUNTIME: 'runsc',
        SANDBOX_FIREWALL: 'off',
        DISK_QUOTA: 'off',
        SANDBOX_DNS: [outside.far],
      });
      const { instance } = sandbox;
      await engine.host.prepare(instance);
      const { faults } = await proveSandbox(engine, { instance, process: 'test', image: TEST_IMAGE, signal });
      expect(faults.layer).toMatch(/snapshots and resizes lose.*--overlay2=none/);
      expect(await engine.layers.persist({ name: TEST_IMAGE })).toBe(false);
    } finally {
      await second.discard(['data']);
    }
  });

  inMore('must say of an image that cannot show anything that nothing was tried', async () => {
    const { instance } = sandbox;
    const [engine, image] = [sandbox.engine(), 'berth-test/nothing-to-show:1'];
    await engine.host.prepare(instance);
    await sandbox.real.makeImage(image, 'rm /bin/sh');
    const report = await proveSandbox(engine, { instance, process: 'test', image, signal });
    expect(report).toMatchObject({ state: 'unproved', faults: {} });
    await expectNothingLeft(instance);
    await docker.getImage(image).remove();
  });

  it('must degrade readiness with what to do, where names do not resolve, and show in the metrics', async () => {
    const instance = `test-proof-${String(process.pid)}`;
    // Nobody answers there.
    const environment = { INSTANCE_ID: instance, SANDBOX_PROOF: 'on', SANDBOX_DNS: outside.near };
    const berth = await Berth.start({ environment });
    try {
      const api = new ApiClient(berth.url, '');
      expect((await api.call('GET', '/health/ready')).body).toMatchObject({ sandbox_proof: 'proving' });
      await eventually(
        async () => expect((await api.call('GET', '/health/ready')).body).toMatchObject({ sandbox_proof: 'failed' }),
        { timeoutMs: 120_000 },
      );
      const ready = await api.call('GET', '/health/ready');
      expect([ready.status, ready.body['status']]).toEqual([200, 'degraded']);
      expect(ready.body['notices']).toEqual([expect.stringMatching(/resolve no names.*set SANDBOX_DNS/)]);
      expect(ready.body['idle_sandbox']).toMatchObject({ cpu_shares: expect.any(Number) });
      const metrics = await (await fetch(`${berth.url}/metrics`)).text();
      expect(metrics).toMatch(/^berth_idle_sandbox_cpus \d/m);
      for (const check of PROOF_CHECKS) {
        expect(metrics).toContain(`berth_sandbox_proof{check="${check}"} ${check === 'names' ? '0' : '1'}`);
      }
    } finally {
      await berth.stop();
    }
    await expectNothingLeft(instance);
    await sandbox.real.removeInstance(instance);
  });

  it('removes, once it starts again, what it left when it was killed meanwhile', async () => {
    const instance = `test-proof-killed-${String(process.pid)}`;
    const database = await openTestDatabase();
    const environment = { INSTANCE_ID: instance, SANDBOX_PROOF: 'on' };
    const killed = new BerthProcess({ ...environment, DATABASE_URL: database.url });
    const filters = { label: [`berth.probe=${instance}`] };
    let left: string[] = [];
    try {
      await killed.start();
      await eventually(async () => {
        left = (await docker.listContainers({ filters })).map(({ Id }) => Id);
        expect(left).not.toEqual([]);
      });
      await killed.kill();
      expect((await docker.listVolumes({ filters })).Volumes).not.toEqual([]);
      const next = await Berth.start({ database, environment });
      await eventually(async () => {
        const there = (await docker.listContainers({ all: true, filters })).map(({ Id }) => Id);
        expect(there.filter((id) => left.includes(id))).toEqual([]);
      });
      await next.stop();
      await expectNothingLeft(instance);
    } finally {
      await killed.kill();
      await sandbox.real.removeInstance(instance);
      await database.drop();
    }
  });

  inMore('must leave nothing where the server stops meanwhile', async () => {
    const instance = `test-proof-cut-${String(process.pid)}`;
    const berth = await Berth.start({ environment: { INSTANCE_ID: instance, SANDBOX_PROOF: 'on' } });
    const filters = { label: [`berth.probe=${instance}`] };
    await eventually(async () => expect(await docker.listContainers({ filters })).toHaveLength(1));
    await berth.stop();
    await expectNothingLeft(instance);
    await sandbox.real.removeInstance(instance);
  });
});
