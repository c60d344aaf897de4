import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { ApiClient } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { freePort } from '../support/free-port';
import { RealDocker } from '../support/docker/real-docker';
import { SystemdBox } from './systemd-box';

jest.setTimeout(300_000);

const run = promisify(execFile);
const INSTANCE = `test-artefact-${String(process.pid)}`;

describe('a server with nothing but dist and the production dependencies', () => {
  let folder: string;
  let installed: string;
  let environment: NodeJS.ProcessEnv;
  /** Of what was started. */
  const endings: (() => unknown)[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-artefact-'));
    installed = join(folder, 'installed');
    environment = {
      PATH: process.env['PATH'],
      NODE_ENV: 'production',
      PORT: '0',
      LOG_LEVEL: 'fatal',
      DATABASE_URL: `sqlite:${join(folder, 'berth.sqlite')}`,
      DOCKER_HOST: process.env['DOCKER_HOST'],
      SANDBOX_RUNTIME: process.env['SANDBOX_RUNTIME'],
      SANDBOX_PROOF: 'off',
      WARM_POOL: 'off',
      INSTANCE_ID: INSTANCE,
      SECRETS_KEY: Buffer.alloc(32, 7).toString('base64'),
    };
    const listed = await run('npm', ['ls', '--all', '--parseable', '--omit=dev', '--workspaces=false']);
    const packages = listed.stdout.split('\n').filter((path) => path.includes('node_modules'));
    const own = ['package.json', 'dist', 'packages/supervisor/build/supervisor'];
    for (const path of [...own, ...packages.map((each) => relative(process.cwd(), each))]) {
      await mkdir(dirname(join(installed, path)), { recursive: true });
      // What is in a package for others alone is a package of its own in the list.
      const filter = (source: string): boolean =>
        source === path || !source.slice(path.length).includes('node_modules');
      await cp(path, join(installed, path), { recursive: true, filter });
    }
  });

  afterEach(async () => {
    for (const end of endings.splice(0).reverse()) await end();
    await new RealDocker().removeInstance(INSTANCE);
  });

  afterAll(async () => {
    await rm(folder, { recursive: true });
  });

  it('must make tokens, serve, run containers, and end in good order', async () => {
    const program = join('dist', 'src', 'cli', 'token.js');
    const made = await run(process.execPath, [program, '--user', 'one', '--tier', 'pro'], {
      cwd: installed,
      env: environment,
    });
    const server = spawn(process.execPath, ['dist/src/main.js'], {
      cwd: installed,
      env: environment,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    endings.push(() => server.kill('SIGKILL'));
    const [{ url }] = (await once(server, 'message')) as [{ url: string }];
    const api = new ApiClient(url, made.stdout.trim());
    const { db_id } = await api.running();
    expect((await api.stop(db_id)).status).toBe(200);
    expect((await api.call('GET', '/api/openapi.json')).status).toBe(200);
    server.kill('SIGTERM');
    expect(await once(server, 'exit')).toEqual([0, null]);
  });

  const possible = SystemdBox.isPossible() ? it : it.skip;

  possible(
    'must run as the service of deploy/, come back, keep to what it may, and not with wrong settings',
    async () => {
      const url = `http://127.0.0.1:${String(await freePort())}`;
      const box = await startBox({ installed, url });
      endings.push(() => box.end());
      await box.run('systemctl', 'start', 'berth');
      const up = (): Promise<void> =>
        eventually(async () => expect((await fetch(`${url}/health/ready`)).status).toBe(200), { timeoutMs: 60_000 });
      await up();
      const [, command = ''] = /^Tokens:\n\n```sh\n([^]*?)```$/m.exec(readFileSync('deploy/README.md', 'utf8')) ?? [];
      const token = await box.run('bash', '-e', '-c', command.replace('NAME', 'two').replace('TIER', 'pro'));
      const api = new ApiClient(url, token);
      const { db_id } = await api.running();
      const { ExecMainPID: first = '' } = await box.show('berth', 'ExecMainPID');
      const status = await box.run('cat', `/proc/${first}/status`);
      // NET_ADMIN and NET_RAW, and system calls filtered.
      expect(status).toMatch(/^CapEff:\t0000000000003000$/m);
      expect(status).toMatch(/^Seccomp:\t2$/m);
      expect(status).not.toMatch(/^Uid:\t0/m);
      await box.run('kill', '-KILL', first);
      await up();
      expect((await api.get(db_id)).body).toMatchObject({ status: 'running' });
      expect(await box.show('berth', 'NRestarts')).toEqual({ NRestarts: '1' });
      await box.run('systemctl', 'stop', 'berth');
      expect(await box.show('berth', 'Result', 'ExecMainStatus')).toEqual({ Result: 'success', ExecMainStatus: '0' });
      await box.run('sh', '-c', 'echo DISK_QUOTA=nonsense >> /etc/berth/berth.env');
      await box.run('systemctl', 'start', 'berth');
      await eventually(async () =>
        expect(await box.show('berth', 'ActiveState', 'ExecMainStatus')).toEqual({
          ActiveState: 'failed',
          ExecMainStatus: '2',
        }),
      );
    },
  );
});

/** A system that Berth is installed on as deploy/README.md says, with the packages of this one, and its Docker. */
async function startBox({ installed, url }: { installed: string; url: string }): Promise<SystemdBox> {
  const socket = (process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock').slice('unix://'.length);
  const settings = [
    `PORT=${new URL(url).port}`,
    `INSTANCE_ID=${INSTANCE}`,
    `SANDBOX_RUNTIME=${process.env['SANDBOX_RUNTIME'] ?? 'runsc'}`,
    'SANDBOX_PROOF=off',
    'WARM_POOL=off',
    'DOCKER_HOST=unix:///run/docker.sock',
  ];
  const setup = `
    chroot "$R" useradd --system --home-dir /opt/berth --shell /usr/sbin/nologin berth
    chroot "$R" groupadd --system --force docker
    chroot "$R" groupmod --non-unique --gid "$(stat -c %g "$SOCKET")" docker
    touch "$R/run/docker.sock" "$R/usr/bin/node"
    mount --bind "$SOCKET" "$R/run/docker.sock"
    mount --bind "$NODE" "$R/usr/bin/node"
    mkdir -p "$R/opt/berth" "$R/etc/berth"
    mount --bind "$INSTALLED" "$R/opt/berth"
    sed "s|^SECRETS_KEY=.*|SECRETS_KEY=$(head -c 32 /dev/urandom | base64)|" deploy/berth.env.example >"$R/etc/berth/berth.env"
    echo "$SETTINGS" >>"$R/etc/berth/berth.env"
    chmod 600 "$R/etc/berth/berth.env"
    install -m 644 deploy/berth.service "$R/etc/systemd/system/"`;
  return SystemdBox.start(setup, {
    SOCKET: socket,
    NODE: process.execPath,
    INSTALLED: installed,
    SETTINGS: settings.join('\n'),
  });
}
