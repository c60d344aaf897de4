import type { DockerEngine } from '../../src/docker/docker-engine';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { firewallRulesOf } from '../support/docker/firewall';
import { inMore, onlyQuick as it } from '../support/extent';

jest.setTimeout(180_000);

/** Which network is whose is up to Docker's bridges; a sandbox of gVisor would only cost its time. */
const RUNTIME = { SANDBOX_RUNTIME: 'runc' } as const;
const TWO_EACH = { ...RUNTIME, SANDBOX_NETWORK_SIZE: 2 } as const;

describe('the networks of many sandboxes', () => {
  let sandbox: EngineSandbox;

  beforeEach(() => {
    sandbox = new EngineSandbox();
  });

  afterEach(() => sandbox.cleanUp());

  it('must be as many as it takes, each isolated and behind the firewall, and removed when nobody needs them', async () => {
    const engine = await prepared(sandbox.dockerEngine({ ...TWO_EACH, SANDBOX_FIREWALL: 'required' }));
    const ids = [];
    for (let count = 0; count < 4; count += 1) ids.push(await sandbox.running(engine, sandbox.spec()));
    expect(await placesOf(ids)).toEqual([name(), name(), name(2), name(2)]);
    for (const each of [name(), name(2)]) {
      const { Driver, EnableIPv6, Options, Labels } = await sandbox.real.docker.getNetwork(each).inspect();
      expect({ Driver, EnableIPv6, isolated: Options?.['com.docker.network.bridge.enable_icc'] }).toEqual({
        Driver: 'bridge',
        EnableIPv6: false,
        isolated: 'false',
      });
      expect(Labels).toMatchObject({ 'berth.instance': sandbox.instance });
    }
    const rules = await firewallRulesOf(sandbox.instance);
    // IPv4 and IPv6, of both.
    expect(rules.filter((rule) => rule.startsWith('-A PREROUTING '))).toHaveLength(4);

    // One listens on its first network; neither its sibling there nor a sandbox of the second reaches it.
    const [target = '', sibling = '', other = ''] = ids;
    const address = (await engine.containers.inspect(target))?.ipAddress ?? '';
    expect(address).toMatch(/^\d/);
    sandbox.real.exec(target, ['sh', '-c', 'while true; do echo hello | nc -l -p 8000; done']).catch(() => undefined);
    const ask = (from: string, of: string): Promise<string> =>
      sandbox.real.exec(from, ['sh', '-c', `nc -w 2 ${of} 8000 2>/dev/null </dev/null`]);
    await eventually(async () => expect(await ask(target, '127.0.0.1')).toContain('hello'));
    expect([await ask(sibling, address), await ask(other, address)]).toEqual(['', '']);

    // A stopped one does not hold its place: when it comes back, it goes where there is one.
    await engine.containers.stop(target, 0);
    const fifth = await sandbox.running(engine, sandbox.spec());
    expect(await placesOf([fifth])).toEqual([name()]);
    await engine.containers.start(target);
    expect(await placesOf([target])).toEqual([name(3)]);
    expect((await engine.containers.inspect(target))?.ipAddress).toMatch(/^\d/);

    for (const id of [...ids, fifth]) await engine.containers.remove(id);
    await engine.containers.list({ instance: sandbox.instance });
    await engine.host.maintain();
    expect(await networks()).toEqual([name()]);
    await engine.host.maintain();
    expect(await firewallRulesOf(sandbox.instance)).toHaveLength(rules.length / 2);
  });

  inMore('must be found full by Docker too, as when other processes fill them, and left for another', async () => {
    // Of eight addresses five are for containers, whatever the bound says.
    await sandbox.real.docker.createNetwork({
      Name: name(),
      Options: { 'com.docker.network.bridge.enable_icc': 'false' },
      Labels: { 'berth.managed': 'true', 'berth.instance': sandbox.instance },
      IPAM: { Config: [{ Subnet: '10.213.77.0/29' }] },
    });
    const [one, two] = [await prepared(sandbox.dockerEngine(RUNTIME)), await prepared(sandbox.dockerEngine(RUNTIME))];
    const ids = await Promise.all(
      Array.from({ length: 7 }, (_each, at) => sandbox.running(at % 2 ? one : two, sandbox.spec())),
    );
    const places = await placesOf(ids);
    expect(places.filter((place) => place === name())).toHaveLength(5);
    expect(places.filter((place) => place === name(2))).toHaveLength(2);
    for (const id of ids) expect((await one.containers.inspect(id))?.ipAddress).toMatch(/^\d/);
    // After a restart by Docker it is where it was.
    const moved = ids[places.indexOf(name(2))] ?? '';
    await sandbox.real.docker.getContainer(moved).restart({ t: 0 });
    expect(await placesOf([moved])).toEqual([name(2)]);
  });

  inMore(
    'must be made once by several processes, and again where somebody removed one with a stopped sandbox',
    async () => {
      const engines = await Promise.all(
        [1, 2, 3].map(() => prepared(sandbox.dockerEngine({ ...RUNTIME, SANDBOX_NETWORK_SIZE: 1 }))),
      );
      const ids = await Promise.all(engines.map((engine) => sandbox.running(engine, sandbox.spec())));
      const [engine] = engines;
      if (!engine) throw new Error('there is no engine');
      await engine.containers.list({ instance: sandbox.instance });
      const last = await sandbox.running(engine, sandbox.spec());
      const place = (await placesOf([last]))[0] ?? '';
      expect(place).not.toBe(name());
      await engine.containers.stop(last, 0);
      await sandbox.real.docker.getNetwork(place).remove();
      await engine.containers.start(last);
      expect((await engine.containers.inspect(last))?.ipAddress).toMatch(/^\d/);
      for (const id of [...ids, last]) expect((await placesOf([id]))[0]).toMatch(new RegExp(`^${name()}(-\\d)?$`));
      expect(new Set(await networks()).size).toBe((await networks()).length);
    },
  );

  inMore('must take their subnets where the operator says, and refuse to start where those are not free', async () => {
    const settings = { ...TWO_EACH, SANDBOX_SUBNETS: ['10.213.88.0/28'] };
    const engine = await prepared(sandbox.dockerEngine(settings));
    const ids = [];
    for (let count = 0; count < 4; count += 1) ids.push(await sandbox.running(engine, sandbox.spec()));
    expect(await subnetOf(name())).toBe('10.213.88.0/29');
    expect(await subnetOf(name(2))).toBe('10.213.88.8/29');
    await expect(sandbox.running(engine, sandbox.spec())).rejects.toMatchObject({ code: 'no_capacity' });

    const foreign = await sandbox.real.docker.createNetwork({
      Name: `other-${sandbox.instance}`,
      IPAM: { Config: [{ Subnet: '10.213.99.0/24' }] },
    });
    try {
      const collides = { ...TWO_EACH, SANDBOX_SUBNETS: ['10.213.96.0/20', '10.213.88.0/30'] };
      const refused = await sandbox.dockerEngine(collides).host.prepare(sandbox.instance).catch(String);
      expect(refused).toContain(`10.213.96.0/20 overlaps 10.213.99.0/24 of Docker's network other-${sandbox.instance}`);
      expect(refused).toContain('10.213.88.0/30 is smaller than the /29 that SANDBOX_NETWORK_SIZE=2 needs');
    } finally {
      await foreign.remove();
    }
  });

  function name(number = 1): string {
    return `berth-${sandbox.instance}${number === 1 ? '' : `-${String(number)}`}`;
  }

  async function prepared(engine: DockerEngine): Promise<DockerEngine> {
    await engine.host.prepare(sandbox.instance);
    return engine;
  }

  async function placesOf(ids: readonly string[]): Promise<string[]> {
    const inspected = await Promise.all(ids.map((id) => sandbox.real.inspect(id)));
    return inspected.map(({ NetworkSettings }) => Object.keys(NetworkSettings.Networks).join());
  }

  async function networks(): Promise<string[]> {
    const filters = { label: [`berth.instance=${sandbox.instance}`] };
    return (await sandbox.real.docker.listNetworks({ filters })).map(({ Name }) => Name).sort();
  }

  async function subnetOf(network: string): Promise<string | undefined> {
    const { IPAM } = await sandbox.real.docker.getNetwork(network).inspect();
    return IPAM?.Config?.[0]?.Subnet;
  }
});
