import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { EngineCalls } from '../../engine';
import { DockerDaemon } from '../connection/daemon';
import type { SandboxHost } from '../host/sandbox-host';
import { Volumes } from './volumes';

const TOO_OLD = 'client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade your client';

describe('volumes of a node of a Swarm', () => {
  let server: Server;
  let asked: string[];
  let refuses: (path: string) => string | null;

  beforeEach(async () => {
    asked = [];
    refuses = () => null;
    server = createServer(({ method = '', url = '' }, answer) => {
      asked.push(`${method} ${url.replace(/\?.*/, '')}`);
      const message = refuses(url);
      const done = { GET: 200, POST: 201, DELETE: 204 }[method];
      answer.writeHead(message === null ? (done ?? 405) : 400, { 'content-type': 'application/json' });
      answer.end(JSON.stringify(message === null ? { Name: 'berth-x', Volumes: [] } : { message }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(() => void server.close());

  async function call(work: (volumes: Volumes) => Promise<unknown>, node?: string): Promise<void> {
    const { port } = server.address() as AddressInfo;
    const settings = { DOCKER_HOST: `tcp://127.0.0.1:${String(port)}`, DOCKER_TIMEOUT_SECONDS: 5 };
    const daemon = new DockerDaemon(settings, new EngineCalls(), { node });
    const host = { capabilities: { diskQuota: 'off' } } as unknown as SandboxHost;
    try {
      await work(new Volumes(daemon, host));
    } finally {
      daemon.close();
    }
  }

  const everything = async (volumes: Volumes): Promise<void> => {
    const owner = { instance: 'i', containerId: 'c', userId: 'u' };
    await volumes.list({ instance: 'i' });
    await volumes.ensure({ name: 'berth-x', diskMb: 1, owner, isNew: true });
    await volumes.remove('berth-x');
  };
  const CALLS = ['GET /volumes', 'POST /volumes/create', 'DELETE /volumes/berth-x'];

  it('uses the version of the API in which a manager does not ask the other managers', async () => {
    await call(everything, 'node-1');
    expect(asked).toEqual(CALLS.map((line) => line.replace(' ', ' /v1.41')));
  });

  it('uses the version of the daemon on a single machine', async () => {
    await call(everything);
    expect(asked).toEqual(CALLS);
  });

  it('uses the version of the daemon after the daemon has refused the older one', async () => {
    refuses = (path) => (path.startsWith('/v1.41') ? TOO_OLD : null);
    await call(everything, 'node-1');
    expect(asked).toEqual(['GET /v1.41/volumes', ...CALLS]);
  });

  it('repeats no call that was refused for another reason', async () => {
    refuses = () => 'invalid filter';
    await expect(call((volumes) => volumes.list({ instance: 'i' }), 'node-1')).rejects.toThrow('invalid filter');
    expect(asked).toEqual(['GET /v1.41/volumes']);
  });
});
