import type { DockerEngine } from '../../src/docker/docker-engine';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { inMore, onlyQuick as it } from '../support/extent';
import { emptyChains, firewallRulesOf, listRulesOf, removeFirewallRules } from '../support/docker/firewall';
import { OutsideWorld } from '../support/clients/outside-world';

jest.setTimeout(180_000);

/** The same questions from a sandbox with an allow list and from one without, which reaches all that there is. */
describe('what a sandbox with an allow list reaches', () => {
  const outside = new OutsideWorld();
  const sandbox = new EngineSandbox();
  const tables = ['mangle', 'raw'] as const;
  let engine: DockerEngine;
  let free: string;
  /** Each of the two may ask for one port, of one address. */
  let first: string;
  let second: string;

  beforeAll(async () => {
    await outside.start();
    engine = sandbox.dockerEngine({
      SANDBOX_DNS: [outside.far],
      SANDBOX_ALLOWED_SERVICES: [`${outside.further}:8000`],
    });
    await engine.host.prepare(sandbox.instance);
    expect(engine.host.capabilities).toMatchObject({ hostFirewall: 'enforced', allowLists: 'enforced' });
    const allowed = (port: number): string[] => [`${outside.far}/32:${String(port)}`, `${outside.metadata}/32:80`];
    free = await sandbox.running(engine, sandbox.spec());
    first = await sandbox.running(engine, sandbox.spec({ network: { allow: allowed(8000) } }));
    second = await sandbox.running(engine, sandbox.spec({ network: { allow: allowed(80) } }));
  });

  afterAll(async () => {
    await sandbox.cleanUp();
    await outside.stop();
    for (const table of tables) expect(await listRulesOf(sandbox.instance, table)).toEqual([]);
  });

  it('must be the ports of its list and names, and neither another port nor another address', async () => {
    const places = ['far:8000', 'far:80', 'further:8000', 'further:80'] as const;
    const seen = (from: string): Promise<boolean[]> => Promise.all(places.map((place) => reaches(from, place)));
    // An answer can take longer than one question waits for it.
    await eventually(async () =>
      expect(await Promise.all([free, first, second].map(seen))).toEqual([
        [true, true, true, true],
        [true, false, false, false],
        [false, true, false, false],
      ]),
    );
    const { name } = outside;
    await eventually(async () =>
      expect(await sandbox.real.exec(first, ['nslookup', name.text])).toContain(name.address),
    );
  });

  it('must not be what the host firewall blocks, though the list names it', async () => {
    expect(await ask(first, outside.metadata, 80)).toBe('');
  });

  it('must be the same after a restart with another address', async () => {
    const [before, other] = [await addressOf(first), await addressOf(second)];
    for (const id of [first, second]) await engine.containers.stop(id, 0);
    for (const id of [second, first]) await engine.containers.start(id);
    expect([await addressOf(first), await addressOf(second)]).toEqual([other, before]);
    await expectLists();
    // Docker's own restart.
    await sandbox.real.docker.getContainer(first).restart({ t: 0 });
    await expectLists();
  });

  inMore.each(tables)(
    'must be no more while the table %s is empty, and the same once it is put back',
    async (table) => {
      const rules = async (): Promise<string[][]> =>
        Promise.all([firewallRulesOf(sandbox.instance), ...tables.map((each) => listRulesOf(sandbox.instance, each))]);
      const before = await rules();
      await emptyChains(sandbox.instance, { table });
      await expectLists();
      await engine.host.maintain();
      // Those of sandboxes may come in another order.
      expect((await rules()).map((each) => each.toSorted())).toEqual(before.map((each) => each.toSorted()));
    },
  );

  inMore('must be nothing but names while its own rules are gone, and the same after the next start', async () => {
    for (const table of tables) await emptyChains(sandbox.instance, { table, onlyLists: true });
    await engine.containers.stop(first, 0);
    await engine.containers.start(first);
    await eventually(async () => expect(await reaches(first, 'far:8000')).toBe(true));
    expect([await reaches(first, 'far:80'), await reaches(second, 'far:80')]).toEqual([false, false]);
    await engine.host.maintain();
    await expectLists();
  });

  inMore(
    'must be nothing after all rules were lost, as at boot, and the same for a process that is started',
    async () => {
      await removeFirewallRules(sandbox.instance);
      await eventually(async () => expect(await reaches(free, 'far:8000')).toBe(true));
      expect(await reaches(first, 'far:8000')).toBe(false);
      const restarted = sandbox.dockerEngine({ SANDBOX_DNS: [outside.far] });
      await restarted.host.prepare(sandbox.instance);
      await expectLists();
      await engine.host.maintain();
    },
  );

  inMore('must be put in force by several processes at once, and taken away with the sandbox', async () => {
    const engines = [1, 2].map(() => sandbox.dockerEngine());
    await Promise.all(engines.map((each) => each.host.prepare(sandbox.instance)));
    const rules = async (): Promise<number[]> =>
      Promise.all(tables.map(async (table) => (await listRulesOf(sandbox.instance, table)).length));
    await engine.host.maintain();
    const before = await rules();
    const network = { allow: ['192.0.2.0/24:443'] };
    const made = await Promise.all(engines.map((each) => sandbox.running(each, sandbox.spec({ network }))));
    // For each its way in, its port and its end.
    expect(await rules()).toEqual(before.map((count) => count + 3 * engines.length));
    for (const id of made) await engine.containers.remove(id);
    await engine.host.maintain();
    await engine.host.maintain();
    expect(await rules()).toEqual(before);
  });

  it('must be refused where the host firewall is off', async () => {
    const off = sandbox.dockerEngine({ SANDBOX_FIREWALL: 'off' });
    await off.host.prepare(sandbox.instance);
    expect(off.host.capabilities.allowLists).toBe('unsupported');
    const spec = sandbox.spec({ network: { allow: ['192.0.2.0/24:443'] } });
    await expect(sandbox.running(off, spec)).rejects.toMatchObject({ code: 'docker_error' });
    await off.containers.stop(second, 0);
    await expect(off.containers.start(second)).rejects.toMatchObject({ code: 'docker_error' });
  });

  /** Both sandboxes reach their own port, and not each other's. */
  async function expectLists(): Promise<void> {
    await eventually(async () =>
      expect([await reaches(first, 'far:8000'), await reaches(second, 'far:80')]).toEqual([true, true]),
    );
    const others = [reaches(first, 'far:80'), reaches(second, 'far:8000'), reaches(first, 'further:8000')];
    expect(await Promise.all(others)).toEqual([false, false, false]);
  }

  async function addressOf(engineId: string): Promise<string | null | undefined> {
    return (await engine.containers.inspect(engineId))?.ipAddress;
  }

  async function reaches(engineId: string, place: `${'far' | 'further'}:${number}`): Promise<boolean> {
    const [where, port] = place.split(':');
    return (await ask(engineId, where === 'far' ? outside.far : outside.further, Number(port))) !== '';
  }

  /** @returns what came back; empty if nothing did */
  async function ask(engineId: string, address: string, port: number): Promise<string> {
    const script = `nc -w 1 ${address} ${String(port)} </dev/null 2>/dev/null`;
    return sandbox.real.exec(engineId, ['sh', '-c', script]);
  }
});
