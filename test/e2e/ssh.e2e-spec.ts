import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, type ClientChannel } from 'ssh2';
import type { NewContainer } from '../support/clients/api-client';
import { SshClient } from '../support/clients/ssh-client';
import { eventually } from '../support/eventually';
import { freePort } from '../support/free-port';
import { Berth, type NewUser } from '../support/servers/berth';
import type { Program } from '../support/servers/program';

jest.setTimeout(120_000);

/** Without the other halves of rsync, git and scp's old protocol: `sandbox-image.more-spec.ts` has those. */
const IMAGE = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';

/** A web server of two pages, on the container's own address alone. */
const SERVER = `
  my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 3000, Listen => 9) or die;
  while (my $client = $server->accept) {
    my $asked = <$client>;
    while (<$client> =~ /\\S/) {}
    my $page = $asked =~ /large/ ? 'x' x 8e6 : "page\\n";
    print $client "HTTP/1.0 200 OK\\r\\nContent-Length: ", length $page, "\\r\\n\\r\\n", $page;
    close $client;
  }
`;

const MB = 1024 * 1024;
const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('a container under gVisor, by the programs of OpenSSH', () => {
  let berth: Berth;
  let user: NewUser;
  let container: NewContainer;
  let client: SshClient;
  const programs: Program[] = [];

  beforeAll(async () => {
    berth = await Berth.start({ subject: 'ssh', environment: { SSH_PORT: '0' } });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    container = await user.api.running({ name: 'dev', custom_image: IMAGE, memory_mb: 1024, env: { OWN: 'own' } });
    client = await SshClient.of(user);
  });
  afterEach(async () => {
    for (const program of programs.splice(0)) await program.end('SIGKILL');
  });
  afterAll(async () => {
    client.remove();
    await berth.stop();
  });

  /** A program that goes on until the end of the test. */
  const start = (command: string, args: readonly string[]): Program => {
    const program = client.start(command, args);
    programs.push(program);
    return program;
  };
  const sh = async (script: string): Promise<string> => (await client.ssh('dev', [script])).stdout;
  const local = (name: string): string => join(client.folder, name);

  describe('commands', () => {
    it('must have their outputs, their exit code, the container’s variables and those of the client', async () => {
      const script = 'echo "$OWN $LC_TEST $0"; pwd; echo wrong >&2; exit 7';
      const ran = await client.ssh('dev', ['-o', 'SendEnv=LC_TEST', script], { env: { LC_TEST: 'sent' } });
      expect(ran).toMatchObject({ code: 7, stderr: 'wrong\n' });
      expect(ran.stdout).toMatch(/^own sent \S*bash\n\/\S+\n$/);
      expect(await client.ssh(container.db_id, ['true'])).toMatchObject({ code: 0, stderr: '' });
    });

    it('must be run with keys of each type', async () => {
      for (const type of ['rsa', 'ecdsa']) {
        const own = await SshClient.of(user, { type });
        expect([type, (await own.ssh('dev', ['true'])).code]).toEqual([type, 0]);
        own.remove();
      }
    });

    it('must have their input, of any size, and its end', async () => {
      const input = randomBytes(6 * MB);
      expect(await client.ssh('dev', ['sha256sum'], { input })).toMatchObject({
        code: 0,
        stdout: `${digest(input)}  -\n`,
      });
      const echoed = await client.ssh('dev', ['cat'], { input });
      expect(digest(Buffer.from(echoed.stdout, 'latin1'))).toBe(digest(input));
    });

    it('must be a script on stdin, as editors send it', async () => {
      const input = 'x=1\nfor each in a b; do echo "$each$x"; done\nexit 3\n';
      expect(await client.ssh('dev', ['bash'], { input })).toMatchObject({ code: 3, stdout: 'a1\nb1\n' });
      expect(await client.ssh('dev', ['-T'], { input })).toMatchObject({ code: 3, stdout: 'a1\nb1\n' });
    });

    it('must not mix up their outputs where both are large', async () => {
      const script = 'for i in 1 2; do head -c 3000000 /dev/zero; head -c 3000000 /dev/zero | tr "\\0" x >&2; done';
      const ran = await client.ssh('dev', [script]);
      expect([ran.code, ran.stdout.length, ran.stderr.length]).toEqual([0, 6_000_000, 6_000_000]);
      expect([/[^\0]/.test(ran.stdout), /[^x]/.test(ran.stderr)]).toEqual([false, false]);
    });

    it('must end with their client, with all that they started', async () => {
      const program = start('ssh', [...client.options, 'dev@berth', 'sleep 4321 & echo begun; wait']);
      await program.untilSaid('begun');
      await program.end('SIGKILL');
      await eventually(async () => expect(await sh('pgrep -f "sleep 432[1]" || true')).toBe(''));
    });

    it('must get the signals that their client sends', async () => {
      const connection = new Client();
      const { port, folder } = client;
      connection.connect({ host: '127.0.0.1', port, username: 'dev', privateKey: readFileSync(join(folder, 'key')) });
      await once(connection, 'ready');
      const script = 'trap "echo got; exit 9" TERM; echo ready; while :; do sleep 0.1; done';
      const channel = await new Promise<ClientChannel>((resolve, reject) => {
        connection.exec(script, (error, opened) => (error ? reject(error) : resolve(opened)));
      });
      let said = '';
      channel.on('data', (data: Buffer) => (said += data.toString()));
      const ended = once(channel, 'exit');
      await eventually(() => expect(said).toBe('ready\n'));
      channel.signal('TERM');
      expect(await ended).toEqual([9]);
      await eventually(() => expect(said).toBe('ready\ngot\n'));
      connection.end();
    });

    it('must say why there are none', async () => {
      expect(await client.ssh('other', ['true'])).toMatchObject({ code: 255, stderr: 'berth: container not found\n' });
      const stranger = await (await berth.user()).api.running();
      expect(await client.ssh(stranger.db_id, ['true'])).toMatchObject({
        code: 255,
        stderr: 'berth: not authorized\n',
      });
    });
  });

  describe('terminals', () => {
    it('must be shells with a size that follows, signals of keys, and an exit code', async () => {
      const script = [
        'import pty, os, sys, time, fcntl, termios, struct, signal',
        'pid, fd = pty.fork()',
        'if pid == 0: os.execvp("ssh", ["ssh", *sys.argv[1:]])',
        'def size(rows, columns):',
        '  fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0)); os.kill(pid, signal.SIGWINCH)',
        'said = b""',
        'def until(text):',
        '  global said',
        '  while text not in said: said += os.read(fd, 65536)',
        '  said = said.split(text, 1)[1]',
        'size(31, 101)',
        'until(b" ")',
        'os.write(fd, b"stty size; echo t$TERM\\n"); until(b"31 101"); until(b"txterm-color")',
        'size(40, 90)',
        'os.write(fd, b"until [ \\"$(stty size)\\" = \\"40 90\\" ]; do sleep 0.1; done; echo ne\'\'xt\\n"); until(b"next")',
        'os.write(fd, b"sleep 1000\\n"); time.sleep(1); os.write(fd, b"\\x03"); os.write(fd, b"echo go\'\'es on\\n"); until(b"goes on")',
        'os.write(fd, b"exit 5\\n")',
        'try:',
        '  while os.read(fd, 65536): pass',
        'except OSError: pass',
        'print("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))',
      ].join('\n');
      writeFileSync(local('terminal.py'), script);
      const args = [local('terminal.py'), ...client.options, '-tt', 'dev@berth'];
      const ran = await client.run('python3', args, { env: { TERM: 'xterm-color' } });
      expect(ran).toMatchObject({ code: 0, stdout: 'ended 5\n' });
    });

    it('must go on where their input ends', async () => {
      const ran = await client.ssh('dev', ['-tt', 'sleep 1; echo to the end; exit 4']);
      expect(ran).toMatchObject({ code: 4, stdout: expect.stringContaining('to the end') });
    });

    it('must be for commands too, and be listed and ended like all others', async () => {
      const program = start('ssh', [...client.options, '-tt', 'dev@berth', 'echo be""gun; sleep 1000']);
      await program.untilSaid('begun');
      const terminals = async (): Promise<{ id: string }[]> =>
        (await user.api.call('GET', `/api/containers/${container.db_id}/terminals`)).body['terminals'] as {
          id: string;
        }[];
      await eventually(async () => expect(await terminals()).toHaveLength(1));
      const [{ id } = { id: '' }] = await terminals();
      await user.api.call('DELETE', `/api/containers/${container.db_id}/terminals/${id}`);
      expect(await program.ended).toBe(255);
      expect(program.output).toContain('the terminal has ended: ended');
      await eventually(async () => expect(await terminals()).toEqual([]));
    });

    it('must end with their client', async () => {
      const program = start('ssh', [...client.options, '-tt', 'dev@berth', 'echo be""gun; sleep 1234']);
      await program.untilSaid('begun');
      await program.end('SIGKILL');
      await eventually(async () => expect(await sh('pgrep -f "sleep 123[4]" || true')).toBe(''), { timeoutMs: 30_000 });
    });
  });

  describe('files', () => {
    it('must be copied by scp both ways, folders and modes included', async () => {
      mkdirSync(local('up/inner'), { recursive: true });
      const content = randomBytes(3 * MB + 17);
      writeFileSync(local('up/large'), content);
      writeFileSync(local('up/inner/run.sh'), 'echo run\n', { mode: 0o750 });
      writeFileSync(local('up/inner/ünïcode name'), '');
      expect(await client.run('scp', [...client.options, '-rp', local('up'), 'dev@berth:copied'])).toMatchObject({
        code: 0,
      });
      expect(await sh('cd copied && sha256sum <large && stat -c %a inner/run.sh && ls inner')).toBe(
        Buffer.from(`${digest(content)}  -\n750\nrun.sh\nünïcode name\n`).toString('latin1'),
      );
      expect(await client.run('scp', [...client.options, '-r', 'dev@berth:copied', local('down')])).toMatchObject({
        code: 0,
      });
      expect(digest(readFileSync(local('down/large')))).toBe(digest(content));
      expect(readdirSync(local('down/inner')).sort()).toEqual(['run.sh', 'ünïcode name']);
    });

    it('must be listed, moved, linked and removed by sftp', async () => {
      const batch = [
        'mkdir dir',
        'cd dir',
        'pwd',
        `put ${local('key.pub')} a`,
        'ln -s a link',
        'ln a hard',
        'rename a b',
        'chmod 600 b',
        'ls -l',
        'df',
        'get b got',
        'rm hard',
        '-rm dir',
        '-rmdir .',
        '-get missing',
        'rename b link',
        'ls',
        '',
      ];
      writeFileSync(local('batch'), batch.join('\n'));
      const ran = await client.run('sftp', ['-b', local('batch'), ...client.options, 'dev@berth'], {
        cwd: client.folder,
      });
      expect(ran.code).toBe(0);
      expect(ran.stdout).toMatch(/\/dir\n/);
      expect(ran.stdout).toMatch(/-rw------- +1 .* b\n/);
      expect(ran.stdout).toMatch(/lrwxrwxrwx +1 .* link\n/);
      expect(ran.stderr).toMatch(/missing.*not found/i);
      expect(readFileSync(local('got'), 'utf8')).toBe(readFileSync(local('key.pub'), 'utf8'));
      expect(await sh('cd dir && ls && stat -c %F link')).toBe('link\nregular file\n');
    });

    it('must be continued by sftp, refused over their limit, and never leave another behind', async () => {
      const content = randomBytes(3 * MB);
      writeFileSync(local('part'), content);
      await client.ssh('dev', ['head -c 1000000 > part'], { input: content });
      const put = await client.run('sftp', ['-b', '-', ...client.options, 'dev@berth'], {
        input: `reput ${local('part')} part\n`,
      });
      expect(put).toMatchObject({ code: 0, stderr: '' });
      expect(await sh('sha256sum <part')).toBe(`${digest(content)}  -\n`);
      const large = await client.run('sftp', ['-b', '-', ...client.options, 'dev@berth'], {
        input: 'put /dev/zero zero\n',
      });
      expect(large.code).not.toBe(0);
    });

    it('must be mounted by sshfs: written anywhere in place, appended, cut, listed', async () => {
      mkdirSync(local('mount'));
      // Its daemon keeps the outputs that it was started with.
      const quietly = ['-c', 'exec sshfs "$@" >/dev/null 2>&1', 'sh'];
      const mounted = await client.run('sh', [...quietly, 'dev@berth:', local('mount'), '-F', local('config')]);
      expect(mounted).toMatchObject({ code: 0, stderr: '' });
      // By another process: this one serves the mount.
      const run = (...command: string[]) =>
        client.run('sh', ['-c', 'cd "$0" && exec "$@"', local('mount'), ...command]);
      try {
        const content = randomBytes(5 * MB);
        writeFileSync(local('content'), content);
        expect(await run('cp', local('content'), 'file')).toMatchObject({ code: 0, stderr: '' });
        expect(await sh('sha256sum <file')).toBe(`${digest(content)}  -\n`);
        const script = [
          'import os, sys',
          'fd = os.open("file", os.O_RDWR)',
          'os.pwrite(fd, b"middle", 3000000); os.pwrite(fd, b"begin", 0); os.pwrite(fd, b"middle", 1000000)',
          'os.fsync(fd); assert os.pread(fd, 6, 3000000) == b"middle"',
          'os.ftruncate(fd, 4000000); os.close(fd)',
          'open("file", "ab").write(b"end")',
          'assert os.stat("file").st_size == 4000003',
        ].join('\n');
        expect(await run('python3', '-c', script)).toMatchObject({ code: 0, stderr: '' });
        content.write('begin', 0);
        content.write('middle', 1_000_000);
        content.write('middle', 3_000_000);
        const expected = digest(Buffer.concat([content.subarray(0, 4_000_000), Buffer.from('end')]));
        expect(await sh('sha256sum <file')).toBe(`${expected}  -\n`);
        expect((await run('sha256sum', 'file')).stdout).toBe(`${expected}  file\n`);
        expect((await run('ls')).stdout).toContain('file\n');
        expect((await run('df', '-P', '.')).code).toBe(0);
      } finally {
        await client.run('fusermount3', ['-u', local('mount')]);
      }
    });
  });

  describe('forwarded ports', () => {
    beforeAll(async () => {
      const body = { command: ['perl', '-MIO::Socket::INET', '-e', SERVER] };
      await user.api.call('POST', `/api/containers/${container.db_id}/processes`, body);
      await eventually(async () => expect(await sh('curl -s localhost:3000')).toBe('page\n'), { timeoutMs: 30_000 });
    });

    it('must be the sandbox’s own, by -L and by -D', async () => {
      const [port, socks] = [await freePort(), await freePort()];
      const forwarded = start('ssh', [
        ...client.options,
        '-N',
        '-L',
        `127.0.0.1:${String(port)}:localhost:3000`,
        '-D',
        `127.0.0.1:${String(socks)}`,
        'dev@berth',
      ]);
      const curl = (...args: string[]) => client.run('curl', ['-sS', '--max-time', '20', ...args]);
      await eventually(async () => expect((await curl(`http://127.0.0.1:${String(port)}/`)).stdout).toBe('page\n'), {
        what: () => forwarded.output,
      });
      const proxy = ['--socks5-hostname', `127.0.0.1:${String(socks)}`];
      for (const host of ['localhost', '127.0.0.1', 'dev', container.db_id]) {
        expect([host, (await curl(...proxy, `http://${host}:3000/`)).stdout]).toEqual([host, 'page\n']);
      }
      // Not the host, not another machine, not a metadata service; and nothing where nothing listens.
      const others = [
        '169.254.169.254:80',
        '172.17.0.1:22',
        `127.0.0.2:${String(client.port)}`,
        'deb.debian.org:80',
        'localhost:1',
      ];
      for (const other of others) {
        expect([other, (await curl(...proxy, `http://${other}/`)).code]).not.toEqual([other, 0]);
      }
      expect(
        (await curl(`http://127.0.0.1:${String(port)}/large`, '-o', '/dev/null', '-w', '%{size_download}')).stdout,
      ).toBe('8000000');
    });

    it('must not be remote ones, nor lead on to other hosts: a target of -J, never a jump', async () => {
      const remote = await client.run('ssh', [
        ...client.options,
        '-o',
        'ExitOnForwardFailure=yes',
        '-R',
        '0:localhost:1',
        'dev@berth',
        'true',
      ]);
      expect(remote).toMatchObject({ code: 255 });
      const jump = await client.run('ssh', [
        ...client.options,
        '-J',
        'dev@berth',
        '-p',
        '22',
        'root@127.0.0.3',
        'true',
      ]);
      expect(jump.code).toBe(255);
      expect(jump.stderr).toMatch(/forwarding failed/);
      const agent = await client.ssh('dev', ['-A', '-X', 'echo "$SSH_AUTH_SOCK$DISPLAY"'], { env: { DISPLAY: ':0' } });
      expect(agent.stdout).toBe('\n');
    });
  });

  it('must be resumed if it is paused, started if its auto_start is on, and say so if it is stopped', async () => {
    await user.api.call('POST', `/api/containers/${container.db_id}/pause`);
    expect(await client.ssh('dev', ['echo', 'resumed'])).toMatchObject({ code: 0, stdout: 'resumed\n' });
    await user.api.stop(container.db_id);
    const stopped = await client.ssh('dev', ['true']);
    expect(stopped).toMatchObject({ code: 255 });
    expect(stopped.stderr).toMatch(/container is not running: start it/);
    await user.api.patch(container.db_id, { auto_start: true });
    expect(await client.ssh('dev', ['echo', 'started'])).toMatchObject({ code: 0, stdout: 'started\n' });
  });

  it('must not be reached any more once the key is deleted, also over open connections', async () => {
    const own = await SshClient.of(user);
    const program = own.start('ssh', [...own.options, 'dev@berth', 'echo begun; sleep 1000']);
    await program.untilSaid('begun');
    const deleted = await user.api.call('DELETE', `/api/me/ssh-keys/${own.keyId}`);
    expect(deleted.status).toBe(200);
    expect(await program.ended).toBe(255);
    expect(await own.ssh('dev', ['true'])).toMatchObject({
      code: 255,
      stderr: expect.stringContaining('Permission denied'),
    });
    own.remove();
  });
});
