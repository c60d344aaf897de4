import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SshClient } from '../support/clients/ssh-client';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { buildEveryDayImage } from '../support/docker/every-day-image';
import { RealDocker } from '../support/docker/real-docker';
import { Berth } from '../support/servers/berth';

jest.setTimeout(15 * 60_000);

const IMAGE = 'berth/sandbox:every-day';

/** Beside the exit code, what a tool says shows that it works under gVisor. */
const TOOLS: [string, RegExp][] = [
  ['bash --version', /GNU bash/],
  ['curl --version', /^curl /],
  ['wget --version', /GNU Wget/],
  ['git init -q /tmp/repo && git -C /tmp/repo status', /No commits yet/],
  ['nano --version', /GNU nano/],
  ['vi --version', /VIM/],
  ['vim --version', /VIM/],
  ['less --version', /^less /],
  ['python3 -c "import ssl, json, sqlite3; print(sum(range(5)))"', /^10$/m],
  ['python3 -m venv /tmp/venv && /tmp/venv/bin/pip --version', /^pip .*\/tmp\/venv/],
  ['pip --version', /^pip /],
  ['printf "all:\\n\\techo made\\n" > /tmp/Makefile && make -sC /tmp', /^made$/m],
  ['echo \'{"a":[1,2]}\' | jq -c .a', /^\[1,2\]$/m],
  ['tmux -V && tmux new-session -d sleep 60 && tmux ls', /^tmux .*\n0: /],
  ['echo text | xz | xz -d', /^text$/m],
  ['unzip -v', /UnZip/],
  ['ssh -V 2>&1', /OpenSSH/],
  ['rsync --version', /^rsync /],
  ['ps -e', /supervisor/],
  ['ls /etc/ssl/certs/ca-certificates.crt', /ca-certificates/],
  ['apt-get --version', /^apt /],
  // A container that was started in advance has its name only later, in the environment of terminals.
  ['uname -n; cat /etc/hostname', /^named\nnamed$/m],
  ['bash -ic \'echo "${PS1@P}"\'', /root@named:.*# /],
  ['BERTH_NAME=later bash -ic \'echo "${PS1@P}"\'', /root@later:.*# /],
];

beforeAll(() => buildEveryDayImage(IMAGE));
afterAll(() => new RealDocker().docker.getImage(IMAGE).remove({ force: true }));

describe('the default image', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();
  let engineId: string;

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    engineId = await sandbox.running(engine, sandbox.spec({ image: IMAGE, hostname: 'named', memoryMb: 512 }));
  });

  afterAll(() => sandbox.cleanUp());

  it.each(TOOLS)('must have the tools of every day: %s', async (command, says) => {
    expect(await sandbox.exec(engineId, ['bash', '-c', command])).toMatch(says);
  });
});

describe('files in a container of the default image, by SSH', () => {
  let berth: Berth;
  let client: SshClient;

  beforeAll(async () => {
    berth = await Berth.start({ subject: 'ssh-image', environment: { SSH_PORT: '0' } });
    const user = await berth.user('pro', ['read', 'write', 'exec']);
    await user.api.running({ name: 'dev', custom_image: IMAGE, memory_mb: 1024 });
    client = await SshClient.of(user);
  });

  afterAll(async () => {
    client.remove();
    await berth.stop();
  });

  const sh = async (script: string): Promise<string> => (await client.ssh('dev', [script])).stdout;
  const local = (name: string): string => join(client.folder, name);

  it('must be copied by the old protocol of scp, which is a command', async () => {
    const content = randomBytes(1_000_000);
    writeFileSync(local('large'), content);
    const ran = await client.run('scp', ['-O', ...client.options, local('large'), 'dev@berth:old']);
    expect(ran).toMatchObject({ code: 0 });
    expect(await sh('cat old')).toBe(content.toString('latin1'));
  });

  it('must be synchronized by rsync, and again in less', async () => {
    mkdirSync(local('sync'));
    const contents = Array.from({ length: 20 }, () => randomBytes(20_000));
    for (const [each, content] of contents.entries()) writeFileSync(local(`sync/${String(each + 10)}`), content);
    const args = ['-a', '--stats', '-e', `ssh -F ${local('config')}`, `${local('sync')}/`, 'dev@berth:synced/'];
    expect(await client.run('rsync', args)).toMatchObject({ code: 0, stderr: '' });
    expect(await sh('cat synced/*')).toBe(Buffer.concat(contents).toString('latin1'));
    expect((await client.run('rsync', args)).stdout).toMatch(/files transferred: 0/);
  });

  it('must be cloned and pushed by git', async () => {
    const git = (...args: string[]) =>
      client.run('git', ['-c', 'user.name=ada', '-c', 'user.email=ada@example.test', ...args]);
    await sh('git init -q --bare repository.git && cd repository.git && git symbolic-ref HEAD refs/heads/main');
    const home = (await sh('pwd')).trim();
    const address = `ssh://dev@berth${home}/repository.git`;
    expect((await git('clone', '-q', address, local('clone'))).code).toBe(0);
    writeFileSync(local('clone/file'), randomBytes(2_000_000));
    await git('-C', local('clone'), 'checkout', '-q', '-b', 'main');
    await git('-C', local('clone'), 'add', '.');
    await git('-C', local('clone'), 'commit', '-qm', 'first');
    expect(await git('-C', local('clone'), 'push', '-q', 'origin', 'main')).toMatchObject({ code: 0, stderr: '' });
    expect(await sh('git -C repository.git log --format=%s main')).toBe('first\n');
    expect(await git('clone', '-q', address, local('again'))).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(local('again/file')).equals(readFileSync(local('clone/file')))).toBe(true);
  });
});
