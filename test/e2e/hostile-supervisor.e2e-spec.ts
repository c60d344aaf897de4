import type { DockerEngine } from '../../src/docker/docker-engine';
import { FRAME, frameHead } from '../../src/engine';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { inBoth as it, inMore, sampled } from '../support/extent';

jest.setTimeout(180_000);

const LIMITS = { timeoutMs: 60_000, maxOutputBytes: 2 ** 20 };

/**
 * Takes the supervisor's place at its socket, and writes to whoever connects: at first the first text, then the second
 * without end. `connect` passes its output over the socket, which Perl has no function for.
 */
const IMITATOR = String.raw`
use IO::Socket::UNIX;
system("rm -rf /dev/.berth; mkdir /dev/.berth");
my $server = IO::Socket::UNIX->new(Local => "/dev/.berth/supervisor", Listen => 16) or die;
open(my $sign, ">", "/tmp/listens"); close($sign);
$SIG{CHLD} = $SIG{PIPE} = "IGNORE";
my ($first, $then) = map { pack("H*", $_) } @ARGV;
my $recvmsg = (POSIX::uname())[4] eq "x86_64" ? 47 : 212;
while (my $client = $server->accept) {
  next if fork;
  my ($pid, $rights) = ("\0" x 4, "\0" x 64);
  my $bytes = pack("PQ", $pid, 4);
  my $message = pack("QQPQPQQ", 0, 0, $bytes, 1, $rights, 64, 0);
  syscall($recvmsg, fileno($client), $message, 0);
  open(my $out, ">&=", (unpack("l2", substr($rights, 16, 8)))[1]) or die;
  syswrite($out, $first);
  1 while syswrite($out, $then);
  exit;
}`;

const hex = (...parts: readonly (Buffer | string)[]): string =>
  Buffer.concat(parts.map((part) => Buffer.from(part))).toString('hex');
const WORDS = JSON.stringify({ protocol: 1, version: 'x', boot: 'x', user: '0', home: 'L2hvbWUvdXNlcg==' });
const HELLO = Buffer.concat([frameHead(0, FRAME.hello, WORDS.length), Buffer.from(WORDS)]);
const PING = frameHead(0, FRAME.ping, 0);

/** What an imitation of the supervisor writes first, and then without end. */
const IMITATIONS = [
  ['bytes that are no frames', hex('x'), hex('x'.repeat(16_384))],
  ['zeros', hex('\0'), hex(Buffer.alloc(16_384))],
  ['a length that it does not keep', hex(frameHead(0, FRAME.hello, 0x7fff_ffff)), hex('x')],
  ['a HELLO and a flood of another stream', hex(HELLO), hex(frameHead(7, FRAME.end, 0))],
  ['a HELLO and PINGs without end', hex(HELLO), hex(Buffer.concat(Array.from({ length: 5_000 }, () => PING)))],
] as const;

describe('a root user who turns against the supervisor', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.dockerEngine({ SANDBOX_RUNTIME: 'runsc' });
  const { real } = sandbox;
  let other: string;

  async function said(id: string, script: string, by: DockerEngine = engine): Promise<string> {
    const output: Buffer[] = [];
    const command = ['sh', '-c', script];
    await by.programs.run(id, { command, user: '0', ...LIMITS, onOutput: ({ data }) => void output.push(data) });
    return Buffer.concat(output).toString();
  }
  const codeOf = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'works',
      (error: unknown) => (error as { code: string }).code,
    );
  /** As another process of Berth, which has no channel yet. */
  async function asAnother<T>(work: (other: DockerEngine) => Promise<T>): Promise<T> {
    const another = sandbox.dockerEngine({ SANDBOX_RUNTIME: 'runsc' });
    await another.host.prepare(sandbox.instance);
    try {
      return await work(another);
    } finally {
      another.onApplicationShutdown();
    }
  }

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    other = await sandbox.running(engine, sandbox.spec());
  });
  afterAll(() => sandbox.cleanUp());
  afterEach(async () => expect(await said(other, 'echo unharmed')).toBe('unharmed\n'));

  it.each(sampled(['KILL', 'STOP', 'TERM'], 3))(
    'by SIG%s harms no more than the sandbox, which can be stopped',
    async (signal) => {
      const id = await sandbox.running(engine, sandbox.spec());
      const command = ['sh', '-c', `kill -${signal} 1; sleep 0.5; echo on`];
      await codeOf(engine.programs.run(id, { command, user: '0', timeoutMs: 2_000, maxOutputBytes: 100 }));
      expect(['works', 'container_not_running', 'container_not_responding']).toContain(
        await codeOf(engine.programs.list(id)),
      );
      const before = performance.now();
      await engine.containers.stop(id, 2);
      expect(performance.now() - before).toBeLessThan(20_000);
      await engine.containers.remove(id);
    },
  );

  inMore(
    'by its program or its socket changes nothing about what goes on, and the sandbox can be stopped',
    async () => {
      const id = await sandbox.running(engine, sandbox.spec());
      const size = await said(other, 'wc -c </.berth/supervisor');
      // Each of them opens the file in another way.
      for (const attack of [
        ': >',
        ': >>',
        'rm -f',
        'touch',
        'truncate -s 0',
        'chmod 0',
        'dd if=/dev/zero count=1 of=',
      ]) {
        await said(id, `(${attack}${attack.endsWith('=') ? '' : ' '}/.berth/supervisor) 2>&1`);
        expect([attack, await said(other, 'wc -c </.berth/supervisor')]).toEqual([attack, size]);
      }
      await said(id, 'rm -rf /dev/.berth');
      expect(await said(id, 'echo on')).toBe('on\n');
      await asAnother(async (another) => {
        expect(await codeOf(another.programs.list(id))).toBe('container_not_responding');
      });
      expect(await engine.containers.stop(id, 5)).toBe('stopped');
      expect(await engine.containers.start(id)).toBe('started');
      await asAnother(async (another) => expect(await said(id, 'echo again', another)).toBe('again\n'));
      await engine.containers.remove(id);
    },
  );

  it.each(sampled(IMITATIONS, 3))('by an imitation that writes %s harms nobody else', async (_what, first, then) => {
    const image = 'berth/sandbox:latest';
    const id = await sandbox.running(engine, sandbox.spec({ image, memoryMb: 512 }));
    const command = ['perl', '-MPOSIX', '-e', IMITATOR, first, then];
    const imitation = await engine.programs.start(id, { command, user: '0' });
    expect(await said(id, 'until [ -e /tmp/listens ]; do sleep 0.1; done; echo ready')).toBe('ready\n');
    await asAnother(async (another) => {
      const outcome = codeOf(another.programs.run(id, { command: ['true'], timeoutMs: 5_000, maxOutputBytes: 1 }));
      // Meanwhile the process serves others.
      const times: number[] = [];
      for (let turns = 0; turns < 5; turns += 1) {
        const before = performance.now();
        await said(other, 'true', another);
        times.push(performance.now() - before);
      }
      expect(Math.min(...times)).toBeLessThan(2_000);
      expect(['container_not_responding', 'timed_out']).toContain(await outcome);
    });
    imitation.close();
    await engine.containers.stop(id, 1);
    await engine.containers.remove(id);
    expect(await real.docker.listContainers({ all: true, filters: { id: [id] } })).toEqual([]);
  });
});
