import type { ExecRequest } from '../../src/engine';
import { installCommand, probeCommand, type RoleCommand } from '../../src/roles';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { itOnDocker } from '../support/docker/which-engine';

jest.setTimeout(120_000);

const TIMEOUT_MS = 60_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;

describe('commands in a gVisor container', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();
  let engineId: string;

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    engineId = await sandbox.running(engine, sandbox.spec());
  });
  afterAll(() => sandbox.cleanUp());

  async function run(
    command: readonly string[],
    request: Partial<ExecRequest> = {},
    container = engineId,
  ): Promise<{ exitCode: number; stdout: string; stderr: string }> {
    const outputs: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
    const { exitCode } = await engine.programs.run(container, {
      command,
      timeoutMs: TIMEOUT_MS,
      maxOutputBytes: MAX_OUTPUT_BYTES,
      ...request,
      onOutput: ({ stream, data }) => void outputs[stream].push(data),
    });
    const text = (stream: 'stdout' | 'stderr'): string => Buffer.concat(outputs[stream]).toString();
    return { exitCode, stdout: text('stdout'), stderr: text('stderr') };
  }
  const sh = (script: string, request: Partial<ExecRequest> = {}) => run(['sh', '-c', script], request);
  /** A command that does no harm if it runs twice: under load, gVisor may report one that ran as not started. */
  const prepare = (...command: string[]) => eventually(() => run(command));

  it('must keep both outputs apart, whole, and the exit code', async () => {
    const script = 'echo "$GREETING $1"; echo wrong >&2; id -u >&2; exit 7';
    const request = { env: { GREETING: 'hello' }, user: '1000' };
    expect(await run(['sh', '-c', script, 'sh', '$(reboot); "ü'], request)).toEqual({
      exitCode: 7,
      stdout: 'hello $(reboot); "ü\n',
      stderr: 'wrong\n1000\n',
    });
    const much = await sh('i=0; while [ $i -lt 3000 ]; do echo "line $i of a long output"; i=$((i+1)); done');
    expect(much.stdout.split('\n')).toHaveLength(3001);
    expect(await run(['true'])).toEqual({ exitCode: 0, stdout: '', stderr: '' });
    expect(await sh('exit 127')).toMatchObject({ exitCode: 127, stdout: '' });
  });

  itOnDocker.each([
    ['/etc/group', 'yes line | head -c 2000000 >/etc/group'],
    ['/etc/passwd, by a link,', 'yes line | head -c 2000000 >/opt; ln -s ../opt /etc/passwd'],
  ])('must not be started while Docker would read too much of %s', async (_file, enlarge) => {
    const real = (script: string): Promise<string> => sandbox.real.exec(engineId, ['sh', '-c', script]);
    await real(`for each in passwd group; do [ ! -e /etc/$each ] || mv /etc/$each /etc/$each.kept; done; ${enlarge}`);
    await eventually(() => expect(run(['true'])).rejects.toMatchObject({ code: 'command_not_started' }));
    await real('cd /etc; rm -f group passwd; for each in *.kept; do mv $each ${each%.kept}; done');
    await eventually(async () => expect(await run(['true'])).toMatchObject({ exitCode: 0 }));
  });

  it('must get as many variables as a user may set', async () => {
    const name = (index: number): string => `V${String(index)}`.padEnd(128, '_');
    const env = Object.fromEntries(Array.from({ length: 64 }, (_each, index) => [name(index), '€'.repeat(4096)]));
    expect((await sh('env | grep -c "^V.*=€"', { env })).stdout).toBe('64\n');
  });

  it.each<[string, readonly string[], Partial<ExecRequest>]>([
    ['program is not there', ['no-such-program'], {}],
    ['program is none', ['/etc'], {}],
    ['user is not there', ['true'], { user: 'nobody-knows' }],
  ])(
    'must say of a command that it was not started, and nothing else, where the %s',
    async (_what, command, request) => {
      const said: string[] = [];
      const attempt = engine.programs.run(engineId, {
        command,
        timeoutMs: TIMEOUT_MS,
        maxOutputBytes: MAX_OUTPUT_BYTES,
        ...request,
        onOutput: ({ data }) => void said.push(data.toString()),
      });
      await expect(attempt).rejects.toMatchObject({ code: 'command_not_started' });
      expect(said).toEqual([]);
    },
  );

  it('must end a command that says too much or takes too long, with all that it started, and go on living', async () => {
    const limited = { maxOutputBytes: 64 * 1024 };
    let bytes = 0;
    const begun = performance.now();
    const flood = engine.programs.run(engineId, {
      command: ['sh', '-c', 'setsid yes flood-a & yes flood-b'],
      timeoutMs: TIMEOUT_MS,
      ...limited,
      onOutput: ({ data }) => (bytes += data.length),
    });
    await expect(flood).rejects.toMatchObject({ code: 'output_too_large' });
    // Not only once the command that ends it is given up.
    expect(performance.now() - begun).toBeLessThan(45_000);
    expect(bytes).toBeLessThanOrEqual(limited.maxOutputBytes);
    expect((await prepare('ps')).stdout).not.toMatch(/flood-[ab]/);
    const long = sh('setsid sleep 7101 & sleep 7102', { ...limited, timeoutMs: 3_000 });
    await expect(long).rejects.toMatchObject({ code: 'timed_out' });
    expect((await prepare('ps')).stdout).not.toMatch(/sleep 710/);
    expect(await sh('echo alive')).toMatchObject({ exitCode: 0, stdout: 'alive\n' });
  });

  it('must take what users write for values, whatever a shell would make of it', async () => {
    const hostile = [
      '$(touch /tmp/ran)',
      '`touch /tmp/ran`',
      '; touch /tmp/ran',
      '"; touch /tmp/ran; "',
      "'; touch /tmp/ran; '",
      '\ntouch /tmp/ran\n',
      '| touch /tmp/ran',
      '&& touch /tmp/ran',
      '${IFS}',
      '*',
      '-v',
      '--',
      '\u001b[2J',
      'a=b=c',
    ];
    const env = Object.fromEntries(hostile.map((value, index) => [`VALUE_${String(index)}`, value]));
    const print = hostile.map((_value, index) => `printf '%s\\0' "$VALUE_${String(index)}"`).join(';');
    const printed = (await sh(`${print}; ls /tmp`, { env })).stdout.split('\0');
    expect(printed.slice(0, -1)).toEqual(hostile);
    expect(printed.at(-1)).not.toContain('ran');
    // As arguments, and as what a role's packages would be if its file were not checked.
    expect((await run(['printf', '%s\\0', ...hostile])).stdout.split('\0').slice(0, -1)).toEqual(hostile);
    const role = { name: 'x', description: '', packages: { apt: hostile, apk: hostile, dnf: hostile }, probe: hostile };
    await run(probeCommand(role).command);
    await run(installCommand(role).command, { user: '0' });
    expect((await sh('ls /tmp')).stdout).not.toContain('ran');
  });

  it('must not wait for what the command leaves behind, and end the command once its caller has gone', async () => {
    expect((await sh('sleep 300 & echo left')).stdout).toBe('left\n');
    const abort = new AbortController();
    const request = { command: ['sh', '-c', 'echo begun; sleep 7103'], timeoutMs: TIMEOUT_MS };
    const whole = { ...request, maxOutputBytes: MAX_OUTPUT_BYTES, signal: abort.signal };
    const left = engine.programs.run(engineId, { ...whole, onOutput: () => abort.abort() });
    await expect(left).rejects.toMatchObject({ code: 'aborted' });
    await expect(sh('true', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
    await eventually(async () => expect((await prepare('ps')).stdout).not.toContain('sleep 7103'));
    expect((await prepare('ps')).stdout).toContain('sleep 300');
  });

  it('must say of a container that it is gone, stopped or paused, also when it ends under the command', async () => {
    const request = { command: ['sleep', '300'], timeoutMs: TIMEOUT_MS, maxOutputBytes: MAX_OUTPUT_BYTES };
    await expect(engine.programs.run('f'.repeat(64), request)).rejects.toMatchObject({ code: 'container_not_found' });
    const other = await sandbox.running(engine, sandbox.spec());
    const cut = engine.programs.run(other, request).then(
      ({ exitCode }) => (exitCode >= 128 ? 'killed' : exitCode),
      (error: unknown) => (error as { code: string }).code,
    );
    await eventually(async () => expect(await sandbox.exec(other, ['ps'])).toContain('sleep 300'));
    await engine.containers.stop(other, 1);
    expect(['killed', 'container_not_running']).toContain(await cut);
    await expect(engine.programs.run(other, request)).rejects.toMatchObject({ code: 'container_not_running' });
    await engine.containers.start(other);
    await sandbox.pause(other);
    await expect(engine.programs.run(other, request)).rejects.toMatchObject({ code: 'container_paused' });
    await engine.containers.remove(other);
  });

  /** The package managers of other distributions, as far as their command lines go. */
  describe('to install a role', () => {
    const role = {
      name: 'tool',
      description: '',
      probe: ['tool', 'sh'],
      packages: { apt: [], apk: ['one', 'two+three'], dnf: ['four'] },
    };
    // The simulated image has one.
    beforeAll(() => prepare('rm', '-f', '/bin/apt-get'));
    const say = (command: RoleCommand) => run(command.command, { env: command.env, user: '0' });
    const program = (name: string, script: string) =>
      prepare('sh', '-c', 'printf "%s\\n" "#!/bin/sh" "$2" > /bin/$1 && chmod 755 /bin/$1', 'sh', name, script);

    it('must say that the image has no package manager, or the role no packages for it', async () => {
      expect(await say(probeCommand(role))).toMatchObject({ exitCode: 1, stdout: 'tool\n' });
      expect(await say(installCommand(role))).toMatchObject({ exitCode: 64, stdout: '' });
      await program('apt-get', 'exit 9');
      expect(await say(installCommand(role))).toMatchObject({ exitCode: 65, stdout: '' });
      await prepare('rm', '-f', '/bin/apt-get');
    });

    it('must ask apk for the packages, and look again only once it is done', async () => {
      const tool = 'echo "1/2" >&3; echo "apk $*"; printf "#!/bin/sh\\n" > /bin/tool; chmod 755 /bin/tool';
      await program('apk', `${tool}; exit 5`);
      const failed = await say(installCommand(role));
      expect(failed).toMatchObject({ exitCode: 1, stdout: 'berth:family:apk\nberth:step:install\n1/2\n1/2\n' });
      expect(failed.stderr).toContain('apk add --wait 300 --progress-fd 3 --no-progress --no-cache one two+three\n');
      // The program is there, but it came from an installation that was not finished.
      expect(await say(probeCommand(role))).toMatchObject({ exitCode: 1, stdout: '' });
      await program('apk', tool);
      expect(await say(installCommand(role))).toMatchObject({ exitCode: 0 });
      expect(await say(probeCommand(role))).toMatchObject({ exitCode: 0, stdout: '' });
      await prepare('rm', '-f', '/bin/apk', '/bin/tool');
    });

    it('must ask dnf, and microdnf where that is all there is', async () => {
      for (const name of ['dnf', 'microdnf']) {
        await program(name, 'echo "$0 $*"');
        const answer = await say(installCommand(role));
        expect(answer.stdout).toContain(`/bin/${name} -y --setopt=install_weak_deps=0 install four\n`);
        expect(answer).toMatchObject({ exitCode: 0, stderr: '' });
        await prepare('rm', '-f', `/bin/${name}`);
      }
    });
  });
});
