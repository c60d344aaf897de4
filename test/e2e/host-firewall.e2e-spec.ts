import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import type { DockerEngine, DockerEngineSettings } from '../../src/docker/docker-engine';
import { Berth } from '../support/servers/berth';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { firewallRulesOf, joinNetworks, removeFirewallRules } from '../support/docker/firewall';
import { OutsideWorld } from '../support/clients/outside-world';
import { describeMore, inBoth, inMore, onlyQuick as it, RUNTIMES } from '../support/extent';
import { SANDBOX_IMAGE } from '../support/docker/volume-workbench';

jest.setTimeout(180_000);

/** One Berth's sandbox, its engine and the address of the machine in its network. */
interface Side {
  readonly sandbox: EngineSandbox;
  readonly engine: DockerEngine;
  engineId: string;
  gateway: string;
}

interface Question {
  readonly address: string;
  readonly port: number;
  /** As `printf` writes it. */
  readonly question: string;
}

/** A Berth's engine with one running sandbox. */
async function side(manner: 'required' | 'off', settings: Partial<DockerEngineSettings> = {}): Promise<Side> {
  const sandbox = new EngineSandbox();
  const engine = sandbox.dockerEngine({ SANDBOX_FIREWALL: manner, ...settings });
  const { hostFirewall } = await engine.host.prepare(sandbox.instance);
  expect(hostFirewall).toBe(manner === 'off' ? 'off' : 'enforced');
  const engineId = await sandbox.running(engine, sandbox.spec());
  const { NetworkSettings } = await sandbox.real.inspect(engineId);
  return { sandbox, engine, engineId, gateway: Object.values(NetworkSettings.Networks)[0]?.Gateway ?? '' };
}

/** Something that the machine offers on all of its addresses. */
interface Service {
  readonly what: string;
  /** As `printf` writes it. */
  readonly question: string;
  readonly answer: RegExp;
  port: number;
}

/**
 * The same questions from a sandbox behind the firewall and from one of a Berth without: what the rules do, and nothing
 * else does.
 */
describe('what a sandbox may reach', () => {
  const outside = new OutsideWorld();
  const servers: Server[] = [];
  const clients = new Set<Socket>();
  const instance = `test-firewall-${String(process.pid)}`;
  let berth: Berth;
  let guarded: Side;
  let open: Side;
  /** Another Berth, whose operator closes networks: one outside, and the address of {@link open}. */
  let walled: Side;

  const berthItself: Service = {
    what: 'Berth itself',
    question: String.raw`GET /health/live HTTP/1.0\r\n\r\n`,
    answer: /"status":"ok"/,
    port: 0,
  };
  const dockerApi: Service = {
    what: 'a Docker API on TCP',
    question: String.raw`GET /_ping HTTP/1.0\r\n\r\n`,
    answer: /Api-Version/,
    port: 0,
  };
  // As the protocol has it: a request for TLS, answered by one letter.
  const postgres: Service = {
    what: 'PostgreSQL',
    question: String.raw`\000\000\000\010\004\322\026\057`,
    answer: /^[NS]$/,
    port: 0,
  };
  const redis: Service = { what: 'Redis', question: String.raw`PING\r\n`, answer: /PONG|NOAUTH/, port: 0 };

  beforeAll(async () => {
    await outside.start();
    guarded = await side('required');
    open = await side('off');
    berth = await Berth.start({ environment: { HOST: '0.0.0.0', INSTANCE_ID: instance } });
    berthItself.port = Number(new URL(berth.url).port);
    // In the place of a real one, which must not be offered to a network even for a moment.
    dockerApi.port = await offer(
      createServer((client) => {
        client.on('error', () => undefined);
        client.once('data', () => client.end('HTTP/1.1 200 OK\r\nApi-Version: 1.45\r\n\r\nOK'));
      }),
    );
    postgres.port = await relay(process.env['TEST_POSTGRES_URL'] ?? '');
    redis.port = await relay(process.env['TEST_REDIS_URL'] ?? '');
    walled = await side('required', {
      SANDBOX_BLOCKED_NETWORKS: ['198.18.0.0/15', await addressOf(open)],
      SANDBOX_ALLOWED_SERVICES: [`${outside.metadata}:80`, `${outside.near}:${String(dockerApi.port)}`],
    });
    for (const side of [open, guarded]) listen(side);
  });

  afterAll(async () => {
    for (const server of servers) server.close();
    for (const client of clients) client.destroy();
    await berth.stop();
    await guarded.sandbox.real.removeInstance(instance);
    for (const { sandbox } of [guarded, open, walled]) await sandbox.cleanUp();
    await outside.stop();
    expect(await firewallRulesOf(guarded.sandbox.instance)).toEqual([]);
  });

  it.each<[string, (from: Side) => string]>([
    ["the address in the sandboxes' network", ({ gateway }) => gateway],
    ['another address of the machine', () => outside.near],
  ])('must not be Berth, Docker, PostgreSQL or Redis of this machine at %s', async (_where, address) => {
    const services = [berthItself, dockerApi, postgres, redis];
    const asked = services.map(async ({ what, port, question, answer }) => {
      await expectAnswer(open, { address: address(open), port, question }, answer);
      return { what, answer: await ask(guarded, { address: address(guarded), port, question }) };
    });
    expect(await Promise.all(asked)).toEqual(services.map(({ what }) => ({ what, answer: '' })));
  });

  it('must not be the metadata address of a cloud', async () => {
    const metadata = { address: outside.metadata, port: 80, question: '' };
    await expectAnswer(open, metadata, /credentials of the machine/);
    expect(await ask(guarded, metadata)).toBe('');
  });

  it('must be the outside world all the same', async () => {
    await expectAnswer(guarded, { address: outside.far, port: 8000, question: '' }, /^the outside world\n$/);
  });

  inMore('must not be a network that the operator closes, but what is opened in it, and on this machine', async () => {
    const closed = [
      { address: outside.far, port: 8000, question: '' },
      { ...redis, address: outside.near },
    ];
    expect(await Promise.all(closed.map((question) => ask(walled, question)))).toEqual(['', '']);
    await expectAnswer(walled, { address: outside.metadata, port: 80, question: '' }, /credentials/);
    await expectAnswer(walled, { ...dockerApi, address: outside.near }, dockerApi.answer);
    const before = await firewallRulesOf(walled.sandbox.instance);
    await walled.engine.host.maintain();
    expect(await firewallRulesOf(walled.sandbox.instance)).toEqual(before);
  });

  it('must not be the sandbox of another Berth on the same machine', async () => {
    const target = { address: await addressOf(open), port: 8000, question: '' };
    await expectAnswer(open, target, /hello/);
    expect(await ask(walled, target)).toBe('');
    // Docker alone lets packets through for a moment while it creates any network, here of tests beside this one.
    await eventually(async () => expect(await ask(guarded, target)).toBe(''));
  });

  inMore('must not be the sandbox of another Berth while Docker does not keep its networks apart', async () => {
    const joined: (() => Promise<void>)[] = [];
    try {
      for (const { engineId } of [open, walled]) {
        joined.push(await joinNetworks(guarded.sandbox.real, [guarded.engineId, engineId]));
      }
      const target = { address: await addressOf(guarded), port: 8000, question: '' };
      await expectAnswer(open, target, /hello/);
      expect(await ask(walled, target)).toBe('');
    } finally {
      for (const part of joined) await part();
    }
  });

  inMore(
    'must be a limited number of flows at once, which take entries of the connection table of the machine',
    async () => {
      const entriesAfterMany = async ({ sandbox, engine }: Side): Promise<number> => {
        const engineId = await sandbox.running(engine, sandbox.spec({ image: SANDBOX_IMAGE }));
        const address = (await engine.containers.inspect(engineId))?.ipAddress ?? '';
        const send = `socket(S, PF_INET, SOCK_DGRAM, 17) or die; for $port (1000 .. 4999) {
        send(S, 'x', 0, sockaddr_in($port, inet_aton('${outside.far}'))) }`;
        await sandbox.real.exec(engineId, ['perl', '-MSocket', '-e', send]);
        const table = await readFile('/proc/net/nf_conntrack', 'utf8');
        return table.split('\n').filter((line) => line.includes(` src=${address} dst=${outside.far} `)).length;
      };
      expect(await entriesAfterMany(open)).toBeGreaterThan(3_000);
      const limited = await entriesAfterMany(guarded);
      expect(limited).toBeGreaterThan(1_000);
      expect(limited).toBeLessThanOrEqual(2_048);
      // The limit is that one sandbox's alone.
      await expectAnswer(guarded, { address: outside.far, port: 8000, question: '' }, /^the outside world\n$/);
    },
  );

  it('must be nothing over IPv6, of which a sandbox has no address', async () => {
    const { State } = await guarded.sandbox.real.inspect(guarded.engineId);
    const addresses = await readFile(`/proc/${String(State.Pid)}/net/if_inet6`, 'utf8').catch(() => '');
    expect(addresses.split('\n').filter((line) => line !== '' && !line.endsWith(' lo'))).toEqual([]);
  });

  it('must be the same again after the rules were flushed', async () => {
    const { engine, sandbox, gateway } = guarded;
    const target = { address: gateway, port: dockerApi.port, question: dockerApi.question };
    const before = await firewallRulesOf(sandbox.instance);
    for (const keepChains of [true, false]) {
      await removeFirewallRules(sandbox.instance, { keepChains });
      await expectAnswer(guarded, target, dockerApi.answer);
      await engine.host.maintain();
      expect(await firewallRulesOf(sandbox.instance)).toEqual(before);
      expect(await ask(guarded, target)).toBe('');
    }
  });

  /** Lets the sandbox answer at port 8000. */
  function listen({ sandbox, engineId }: Side): void {
    const listening = ['sh', '-c', 'while true; do echo hello | nc -l -p 8000; done'];
    sandbox.real.exec(engineId, listening).catch(() => undefined);
  }

  async function addressOf({ engine, engineId }: Side): Promise<string> {
    return (await engine.containers.inspect(engineId))?.ipAddress ?? '';
  }

  /** An answer can take longer than one question waits for it. */
  async function expectAnswer(from: Side, question: Question, answer: RegExp): Promise<void> {
    await eventually(async () => expect(await ask(from, question)).toMatch(answer));
  }

  /** @returns what came back; empty if nothing did */
  async function ask({ sandbox, engineId }: Side, { address, port, question }: Question): Promise<string> {
    const script = `printf '${question}' | nc -w 2 ${address} ${String(port)} 2>/dev/null`;
    return sandbox.real.exec(engineId, ['sh', '-c', script]);
  }

  /** Lets a server listen on every address of the machine. @returns the port */
  async function offer(server: Server): Promise<number> {
    servers.push(server.on('connection', (client: Socket) => clients.add(client)));
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    return (server.address() as AddressInfo).port;
  }

  /** A service of the tests that listens on loopback, as if it had been told to listen everywhere. */
  function relay(url: string): Promise<number> {
    const { hostname, port } = new URL(url);
    return offer(
      // The question's end must not end the connection before the answer.
      createServer({ allowHalfOpen: true }, (client) => {
        const service = connect(Number(port), hostname);
        for (const socket of [client, service]) socket.on('error', () => undefined);
        // One answer is enough to have been reached.
        service.once('data', (answer) => {
          client.end(answer);
          service.destroy();
        });
        client.on('data', (question) => void service.write(question));
      }),
    );
  }
});

inBoth.each(RUNTIMES)(
  'a sandbox under %s must ask the name servers of SANDBOX_DNS themselves, and others from the next start on',
  async (runtime) => {
    const outside = new OutsideWorld();
    await outside.start();
    const settings = { SANDBOX_RUNTIME: runtime, SANDBOX_BLOCKED_NETWORKS: ['198.18.0.0/15'] };
    const { sandbox, engine, engineId } = await side('required', { ...settings, SANDBOX_DNS: [outside.far] });
    const expectServers = async (...servers: string[]): Promise<void> => {
      // Not Docker's own (127.0.0.11), which gVisor's network stack does not see.
      const lines = servers.map((server) => `nameserver ${server}\n`).join('');
      await eventually(async () => expect(await sandbox.real.exec(engineId, ['cat', '/etc/resolv.conf'])).toBe(lines));
      const { text, address } = outside.name;
      await eventually(async () => expect(await sandbox.real.exec(engineId, ['nslookup', text])).toContain(address));
    };
    try {
      await expectServers(outside.far);
      const changed = sandbox.dockerEngine({ ...settings, SANDBOX_DNS: [outside.far, '192.0.2.1'] });
      await changed.host.prepare(sandbox.instance);
      await engine.containers.stop(engineId, 10);
      await changed.containers.start(engineId);
      await expectServers(outside.far, '192.0.2.1');
      // Docker's own restart has them too.
      await sandbox.real.docker.getContainer(engineId).restart({ t: 10 });
      await expectServers(outside.far, '192.0.2.1');
    } finally {
      await sandbox.cleanUp();
      await outside.stop();
    }
  },
);

describeMore('the rules of the host firewall', () => {
  const sandbox = new EngineSandbox();
  const required = { SANDBOX_FIREWALL: 'required' } as const;
  afterEach(() => sandbox.cleanUp());

  inMore('must be there once, however many processes put them there', async () => {
    const engines = Array.from({ length: 12 }, () => sandbox.dockerEngine(required));
    await Promise.all(engines.map((engine) => engine.host.prepare(sandbox.instance)));
    await removeFirewallRules(sandbox.instance, { keepChains: true });
    await Promise.all(engines.map((engine) => engine.host.maintain()));
    expect(engines.map(({ host }) => host.capabilities.hostFirewall)).toEqual(engines.map(() => 'enforced'));
    const last = sandbox.dockerEngine(required);
    await last.host.prepare(sandbox.instance);
    const rules = await firewallRulesOf(sandbox.instance);
    expect(rules.filter((rule) => rule.startsWith('-A PREROUTING '))).toHaveLength(2);
    expect(new Set(rules).size).toBe(rules.length - 1);
  });

  inMore(
    'must follow the network where that is recreated, before a sandbox is in it, and leave nothing of the former',
    async () => {
      const engine = sandbox.dockerEngine(required);
      await engine.host.prepare(sandbox.instance);
      const engineId = await sandbox.running(engine, sandbox.spec());
      await engine.containers.stop(engineId, 0);
      const before = await firewallRulesOf(sandbox.instance);
      await sandbox.real.docker.getNetwork(`berth-${sandbox.instance}`).remove();
      await engine.containers.start(engineId);
      const after = await firewallRulesOf(sandbox.instance);
      expect(after).toHaveLength(before.length);
      expect(after.filter((rule) => before.includes(rule))).toEqual([]);
    },
  );

  inMore('must be put back by the sweep of a server, which says that they are there', async () => {
    const environment = { INSTANCE_ID: sandbox.instance, ...required, SWEEP_INTERVAL_SECONDS: '1' };
    const berth = await Berth.start({ environment });
    try {
      const before = await firewallRulesOf(sandbox.instance);
      expect(before).not.toEqual([]);
      await removeFirewallRules(sandbox.instance);
      await eventually(async () => expect(await firewallRulesOf(sandbox.instance)).toEqual(before));
      const ready = await fetch(`${berth.url}/health/ready`);
      expect(await ready.json()).toMatchObject({ host_firewall: 'enforced' });
    } finally {
      await berth.stop();
    }
  });
});
