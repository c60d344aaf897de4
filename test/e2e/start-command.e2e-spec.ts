import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../support/clients/api-client';
import { RealDocker } from '../support/docker/real-docker';
import { ClusterCommand, INSTANCE } from '../support/servers/cluster-command';
import { eventually } from '../support/eventually';
import { freePort } from '../support/free-port';

jest.setTimeout(180_000);

describe('npm start', () => {
  let command: ClusterCommand;

  afterEach(() => command.remove());

  async function prepare(settings: Readonly<Record<string, string>>): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'berth-start-'));
    const environment = { PORT: String(await freePort()), SANDBOX_PROOF: 'off', CONSOLE: 'off', ...settings };
    command = new ClusterCommand(folder, environment, 'scripts/start.mjs');
  }

  const serverPid = async (): Promise<number> => {
    const [server] = (await command.processes()).filter((each) => each.includes('main.js'));
    return Number(server?.split(' ')[0]);
  };

  it('makes the first user its administrator, starts a server that was killed again, and ends well at Ctrl-C', async () => {
    await prepare({});
    await command.start(['--simulate']);
    const url = /http:\S+(?=\/api$)/m.exec(command.output)?.[0] ?? '';
    const api = new ApiClient(url, command.token);
    expect((await api.call('GET', '/api/me')).body['scopes']).toEqual(['read', 'write', 'exec', 'admin']);
    expect(command.output).not.toMatch(/^ {2}Admin /m);
    const { body } = await api.call('POST', '/api/tokens', { name: 'usual', scopes: ['read', 'write', 'exec'] });
    await writeFile(join(command.folder, 'demo-token'), String(body['token']));
    const first = await serverPid();
    process.kill(first, 'SIGKILL');
    await command.untilSaid(/^✗ the server ended by itself \(SIGKILL\); it is started again in 1 s$/m);
    await command.untilSaid(new RegExp(`^✓ the server is back: ${url}$`, 'm'));
    expect(await serverPid()).not.toBe(first);
    await eventually(async () => expect((await fetch(`${url}/health/ready`)).status).toBe(200));
    expect(await command.interrupt()).toBe(0);
    expect(await command.processes()).toEqual([]);
    // With the token of a user who is none, it says how to become one.
    await command.start(['--simulate']);
    expect(command.token).toBe(body['token']);
    expect(command.output).toMatch(/^ {2}Admin {4}npm run -s token -- --user demo --tier pro --scopes \S+,admin$/m);
  });

  it('must have a container ready before anybody asks, and give it to the first creation that names only an image', async () => {
    await prepare({ INSTANCE_ID: INSTANCE });
    await command.start();
    const url = /http:\S+(?=\/api$)/m.exec(command.output)?.[0] ?? '';
    await eventually(async () => {
      const metrics = await (await fetch(`${url}/metrics`)).text();
      expect(metrics).toMatch(/^berth_warm_slots\{state="ready",key="[^"]+"\} 1$/m);
    });
    const [slot] = await new RealDocker().containers(`berth.instance=${INSTANCE}`);
    const api = new ApiClient(url, command.token);
    const { body } = await api.call('POST', '/api/containers', { image: 'sandbox' });
    expect(body).toMatchObject({ status: 'running', id: slot?.id });
  });

  it('must not say that it started a server which could not start', async () => {
    await prepare({ TIERS_FILE: '/nonexistent/tiers.json' });
    expect(await command.run(['--simulate'])).toBe(1);
    expect(command.output).toMatch(/TIERS_FILE/);
    expect(command.output).toMatch(/^✗ the server ended before it was ready/m);
    expect(command.output).not.toContain('✓ starting the server');
  });
});
