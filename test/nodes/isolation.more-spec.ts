import { createServer, type Server } from 'node:net';
import type { DockerEngine } from '../../src/docker/docker-engine';
import { eventually } from '../support/eventually';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { TestNodes, type TestNode } from '../support/docker/test-nodes';

jest.setTimeout(180_000);

/** Docker's API, and what the managers of a Swarm say to each other. */
const PORTS_OF_NODES = [2376, 2377, 7946];
const NAMES = ['node1', 'node2', 'node3'];

describe('what sandboxes on the nodes of a cluster reach', () => {
  const cluster = new TestNodes();
  const engines = new EngineSandbox();
  const onNode = new Map<string, { node: TestNode; engine: DockerEngine; sandbox: string }>();
  const everybody = [...cluster.nodes.map(({ address }) => address), cluster.gateway];
  /** Of this machine, in the nodes' network, like Berth's own and a database's. */
  let allowed: Server;
  let notAllowed: Server;

  const portOf = (server: Server): number => (server.address() as { port: number }).port;
  const of = (name: string): { node: TestNode; engine: DockerEngine; sandbox: string } => {
    const found = onNode.get(name);
    if (!found) throw new Error(`nothing is on ${name}`);
    return found;
  };
  /** Which of these a sandbox on a node connects to. */
  async function reached(name: string, targets: readonly string[]): Promise<string[]> {
    const { node, sandbox } = of(name);
    const tries = targets.map((target) => {
      const [address = '', port = ''] = target.split(':');
      return `(nc -w 2 ${address} ${port} </dev/null >/dev/null 2>&1 && echo ${target}) &`;
    });
    const said = await node.exec(sandbox, ['sh', '-c', `${tries.join('\n')}\nwait`]);
    return said
      .split('\n')
      .filter((line) => line !== '')
      .sort();
  }

  beforeAll(async () => {
    await cluster.allWell();
    const listen = async (): Promise<Server> => {
      const server = createServer((socket) => socket.on('error', () => undefined).end('here\n'));
      await new Promise<void>((resolve) => server.listen(0, cluster.gateway, resolve));
      return server;
    };
    [allowed, notAllowed] = [await listen(), await listen()];
    for (const node of cluster.nodes) {
      const services = [`${cluster.gateway}:${String(portOf(allowed))}`];
      const engine = engines.on(node, { SANDBOX_ALLOWED_SERVICES: services });
      await engine.host.blockAlso(everybody);
      await engine.host.prepare(engines.instance);
      onNode.set(node.name, { node, engine, sandbox: await engines.running(engine) });
    }
  });

  afterAll(async () => {
    allowed.close();
    notAllowed.close();
    await cluster.allWell();
    await engines.cleanUp();
  });

  it.each(NAMES)('must be no port of any node, nor of the machine of Berth, from %s', async (name) => {
    const { engine } = of(name);
    expect(engine.host.capabilities).toMatchObject({ hostFirewall: 'enforced', allowLists: 'enforced' });
    const ofNodes = cluster.nodes.flatMap(({ address }) => PORTS_OF_NODES.map((port) => `${address}:${String(port)}`));
    const ofBerth = `${cluster.gateway}:${String(portOf(notAllowed))}`;
    const open = `${cluster.gateway}:${String(portOf(allowed))}`;
    // What is allowed shows that there is a way.
    expect(await reached(name, [...ofNodes, ofBerth, open])).toEqual([open]);
  });

  it('must not be a sandbox of another node', async () => {
    const { node, engine, sandbox } = of('node2');
    const address = (await engine.containers.inspect(sandbox))?.ipAddress ?? '';
    const word = 'the sandbox on node2';
    const listening = node.exec(sandbox, ['sh', '-c', `while true; do echo ${word} | nc -l -p 8000; done`]);
    listening.catch(() => undefined);
    const heard = (name: string): Promise<string> =>
      of(name).node.exec(of(name).sandbox, ['sh', '-c', `nc -w 2 ${address} 8000 </dev/null || true`]);
    await eventually(async () => expect(await heard('node2')).toContain(word));
    // Something else may have that address, on the other node or in the network around it.
    expect(await heard('node1')).not.toContain(word);
  });

  it('must be a new node until the others know of it, and not from then on', async () => {
    const { engine } = of('node1');
    const [, , third] = cluster.nodes;
    const door = `${third.address}:2376`;
    await engine.host.blockAlso(everybody.filter((address) => address !== third.address));
    expect(await reached('node1', [door])).toEqual([door]);
    await engine.host.blockAlso(everybody);
    expect(await reached('node1', [door])).toEqual([]);
  });

  it('must be as before where somebody flushed the firewall and removed the helper', async () => {
    const { node, engine } = of('node1');
    const door = `${cluster.nodes[1].address}:2376`;
    const [helper] = await node.containers('berth.helper=firewall');
    await node.exec(helper?.id ?? '', ['iptables', '-t', 'mangle', '-F']);
    expect(await reached('node1', [door])).toEqual([door]);
    await node.docker.getContainer(helper?.id ?? '').remove({ force: true });
    await engine.host.maintain();
    expect(engine.host.capabilities.hostFirewall).toBe('enforced');
    expect(await reached('node1', [door])).toEqual([]);
  });

  it('must be as before on a node that was without power', async () => {
    const { node, engine, sandbox } = of('node3');
    await node.kill();
    await expect(engine.host.maintain()).rejects.toMatchObject({ code: 'docker_unavailable' });
    await node.start();
    await eventually(async () => expect((await engine.containers.inspect(sandbox))?.state).toBe('running'), {
      timeoutMs: 60_000,
    });
    await engine.host.maintain();
    expect(engine.host.capabilities.hostFirewall).toBe('enforced');
    expect(
      await reached(
        'node3',
        everybody.map((address) => `${address}:2376`),
      ),
    ).toEqual([]);
  });

  it('must be what its allow list names alone, also on a node', async () => {
    const { node, engine } = of('node2');
    const open = `${cluster.gateway}:${String(portOf(allowed))}`;
    const listed = await engines.running(engine, engines.spec({ network: { allow: [] } }));
    onNode.set('listed', { node, engine, sandbox: listed });
    expect(await reached('listed', [open, `${cluster.nodes[0].address}:2376`])).toEqual([]);
  });

  it('must be required, or no sandbox starts: a node whose helper cannot be made is refused', async () => {
    const [first] = cluster.nodes;
    const engine = engines.on(first, { NODE_FIREWALL_IMAGE: 'berth/nothing:1' });
    await expect(engine.host.prepare(engines.instance)).rejects.toThrow(
      /the host firewall is required, and its rules are not there: the firewall's helper does not run: /,
    );
    engine.onApplicationShutdown();
  });
});
