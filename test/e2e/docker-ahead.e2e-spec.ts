import { randomUUID } from 'node:crypto';
import { DockerEngine } from '../../src/docker/docker-engine';
import type { ContainerProcess, ProcessRequest } from '../../src/docker';
import { LIST, MAKE_DIRECTORY, REMOVE } from '../../src/docker/files/scripts';
import { sessionCommand } from '../../src/docker/programs/ahead/session-line';
import { EngineSandbox } from '../support/docker/engine-sandbox';
import { eventually } from '../support/eventually';
import { inBoth, IS_MORE, onlyQuick as it } from '../support/extent';

jest.setTimeout(120_000);

const SANDBOX_IMAGE = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly exit: number | string;
}

/** Bytes of every value but newline, as text that a line can carry. */
const ALL_CHARACTERS = Array.from({ length: 0x17f }, (_zero, code) => String.fromCodePoint(code + 1)).join('');

const CASES: readonly [
  what: string,
  request: Partial<ProcessRequest> & { command: readonly string[] },
  stdin?: Buffer,
][] = [
  ['an exit code', { command: ['sh', '-c', 'exit 37'] }],
  ['a signal', { command: ['sh', '-c', 'kill -9 $$'] }],
  ['the outputs apart', { command: ['sh', '-c', 'echo out; echo err >&2'] }],
  ['an early output of stderr', { command: ['sh', '-c', 'printf b >&2; printf erth- >&2'] }],
  [
    'quotes, dollars, backslashes',
    { command: ['printf', '%s|', `'`, `"`, '$HOME', '`id`', '\\', '\\n', '!', '~', '*', 'a=b'] },
  ],
  ['newlines and spaces', { command: ['printf', '%s|', 'a\nb', '\n', ' ', '\t ', 'a  b'] }],
  ['empty arguments', { command: ['printf', '%s|', '', 'x', ''] }],
  ['unusual characters', { command: ['printf', '%s', ALL_CHARACTERS.slice(0, 70)] }],
  ['characters of two bytes', { command: ['printf', '%s', ALL_CHARACTERS.slice(0x7e, 0xbe)] }],
  ['more characters of two bytes', { command: ['printf', '%s', ALL_CHARACTERS.slice(0xbe, 0xff)] }],
  ['its own name', { command: ['sh', '-c', 'echo "$0 $#"; tr "\\0" "\\n" </proc/$$/cmdline'] }],
  ['no input', { command: ['sh', '-c', 'cat; [ -c /dev/stdin ] && echo device'] }],
  ['an input', { command: ['wc', '-c'], stdin: true }, Buffer.from('one\ntwo')],
  ['an input that looks like a line', { command: ['cat'], stdin: true }, Buffer.from('exit 5\nexit 6\n')],
  ['an empty input', { command: ['wc', '-c'], stdin: true }, Buffer.alloc(0)],
  [
    'a binary input of 5 MB',
    { command: ['md5sum'], stdin: true },
    Buffer.alloc(5 << 20, Buffer.from([0, 10, 255, 39, 128])),
  ],
  ['a working directory', { command: ['sh', '-c', 'pwd; readlink /proc/$$/cwd'], cwd: '/usr' }],
  ['a working directory with spaces', { command: ['pwd'], cwd: "/tmp/a b'c" }],
  ['a missing working directory', { command: ['true'], cwd: '/nowhere' }],
  ['a missing program', { command: ['no-such-program', 'x'] }],
  ['a missing program with a path', { command: ['/bin/no-such-program'] }],
  ['a directory as program', { command: ['/tmp'] }],
  ['a file that is not executable', { command: ['/etc/passwd'] }],
  ["a program that is only the shell's", { command: ['eval', 'echo no'] }],
  ['a program whose interpreter is missing', { command: ['/tmp/no-interpreter'] }],
  ['another user', { command: ['sh', '-c', 'id -u; echo $HOME'], user: '1000' }],
  ['variables', { command: ['sh', '-c', 'echo "$A|$B"'], env: { A: `a'b "$c`, B: 'x\ny' } }],
  [
    'a marker of its own',
    { command: ['sh', '-c', '[ "$BERTH_SESSION" = mine ] || echo "$A"'], env: { BERTH_SESSION: 'mine', A: 'x' } },
  ],
  ['a path of its own', { command: ['mine'], env: { PATH: '/tmp/bin:/bin:/usr/bin' } }],
  ['a long argument', { command: ['printf', '%s', 'x'.repeat(20_000)] }],
  [
    'its variables',
    { command: ['sh', '-c', 'tr "\\0" "\\n" </proc/self/environ | sed "s/^BERTH_SESSION=.*/marked/" | sort'] },
  ],
  ["a script of Berth's own", { command: ['sh', '-c', LIST, 'berth', '/etc'] }],
  ["a script of Berth's own that fails", { command: ['sh', '-c', MAKE_DIRECTORY, 'berth', '/etc'] }],
  ["a script of Berth's own whose programs fail", { command: ['sh', '-c', LIST, 'berth', '/nowhere'] }],
  [
    "a script of Berth's own with an input",
    { command: ['sh', '-c', REMOVE, 'berth', '/tmp/bin', '', '/home/user', 'conditional'], stdin: true },
    Buffer.from('berth=1\n'),
  ],
  ['its limits and descriptors', { command: ['sh', '-c', 'ulimit -n; umask; ls /proc/self/fd | wc -l'] }],
];

describe('programs in sessions that are opened ahead', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine({ EXEC_AHEAD: 'on' }) as DockerEngine;
  const plain = sandbox.engine() as DockerEngine;
  const { sessions } = engine.daemon.calls;
  const containers = new Map<string, string>();

  beforeAll(async () => {
    await engine.host.prepare(sandbox.instance);
    for (const image of [undefined, SANDBOX_IMAGE]) {
      const dockerId = await sandbox.running(engine, sandbox.spec({ ...(image !== undefined && { image }) }));
      containers.set(image ?? 'busybox', dockerId);
      const prepare = `
        mkdir -p "/tmp/a b'c" /tmp/bin; printf '#!/no/such\\n' >/tmp/no-interpreter
        printf '#!/bin/sh\\necho mine\\n' >/tmp/bin/mine; chmod 755 /tmp/no-interpreter /tmp/bin/mine; chmod 1777 /tmp`;
      await plain.programs.run(dockerId, {
        command: ['sh', '-c', prepare],
        user: '0',
        timeoutMs: 30_000,
        maxOutputBytes: 1e6,
      });
    }
  });
  afterAll(() => sandbox.cleanUp());

  /** Waits until there is a session for the program, unless none suits it. @returns the program's marker */
  async function reserved(dockerId: string, request: ProcessRequest): Promise<string> {
    const missed = (): number => sessions.missed['none'] ?? 0;
    let marker = '';
    await eventually(async () => {
      const before = missed();
      marker = await engine.programs.reserve(dockerId, request);
      expect(missed()).toBe(before);
    });
    return marker;
  }

  async function startAhead(dockerId: string, request: ProcessRequest): Promise<ContainerProcess> {
    return engine.programs.start(dockerId, { ...request, marker: await reserved(dockerId, request) });
  }

  async function outcomeOf(starting: Promise<ContainerProcess>, stdin?: Buffer): Promise<Outcome> {
    const parts = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    const text = (stream: 'stdout' | 'stderr'): string => Buffer.concat(parts[stream]).toString('latin1');
    const exit = (async () => {
      const program = await starting;
      program.stdin?.end(stdin);
      for await (const { stream, data } of program.output) parts[stream].push(data);
      return (await program.exit()).exitCode;
    })();
    const code = await exit.catch((error: unknown) => (error as { code: string }).code);
    return { stdout: text('stdout'), stderr: text('stderr'), exit: code };
  }

  describe.each(['busybox', SANDBOX_IMAGE])('%s', (image) => {
    // In `npm test` each case is tried in one of the images, in `npm run test:more` in the other.
    const isFirst = (image === 'busybox') === !IS_MORE;
    const cases = CASES.filter((_case, index) => (index % 2 === 0) === isFirst);
    inBoth.each(cases)('must behave as if Docker had started them: %s', async (_what, request, ...[stdin]) => {
      const dockerId = containers.get(image) ?? '';
      const [byDocker, ahead] = await Promise.all([
        outcomeOf(plain.programs.start(dockerId, { ...request, marker: randomUUID() }), stdin),
        outcomeOf(startAhead(dockerId, request), stdin),
      ]);
      expect(ahead).toEqual(byDocker);
    });
  });

  const TERMINAL = { terminal: true, stdin: true } as const;

  it.each(['busybox', SANDBOX_IMAGE])('must have the same terminal: %s', async (image) => {
    const dockerId = containers.get(image) ?? '';
    const request = { command: ['sh', '-c', 'stty -a; echo ready; read line; echo "<$line>"; exit 3'], ...TERMINAL };
    const { taken } = sessions;
    const talk = async (program: ContainerProcess): Promise<unknown> => {
      let text = '';
      let isAsked = false;
      for await (const { data } of program.output) {
        text += data.toString();
        if (isAsked || !text.includes('ready\r\n')) continue;
        isAsked = true;
        program.stdin?.write('ü\r');
      }
      return { text, exit: await program.exit() };
    };
    const byDocker = await talk(await plain.programs.start(dockerId, { ...request, marker: randomUUID() }));
    expect(await talk(await startAhead(dockerId, request))).toEqual(byDocker);
    expect(sessions.taken).toBe(taken + 1);
  });

  const idle = async (dockerId: string): Promise<number> =>
    (await sandbox.exec(dockerId, ['ps', '-o', 'args']))
      .split('\n')
      // The script that clears a container has the name of the variable among its arguments.
      .filter((line) => line.includes('eval "$BERTH_AHEAD"')).length;

  it('must each have one, one program after the other', async () => {
    const busybox = containers.get('busybox') ?? '';
    const { taken } = sessions;
    const echo = { command: ['echo', 'x'], startUnawaited: true } as const;
    for (let turn = 0; turn < 5; turn += 1) {
      const marker = await reserved(busybox, echo);
      await eventually(async () => expect(await idle(busybox)).toBeGreaterThan(0));
      expect((await outcomeOf(engine.programs.start(busybox, { ...echo, marker }))).stdout).toBe('x\n');
    }
    expect(sessions.taken - taken).toBe(5);
  });

  /** Without sessions in the beginning. */
  let dockerId: string;

  it('must end with the process that opened them', async () => {
    const other = sandbox.engine({ EXEC_AHEAD: 'on' }) as DockerEngine;
    dockerId = await sandbox.running(engine);
    await other.programs.prepare(dockerId);
    await eventually(async () => expect(await idle(dockerId)).toBe(1));
    // Closes the connections, as the kernel does where a process is killed.
    other.onApplicationShutdown();
    await eventually(async () => expect(await idle(dockerId)).toBe(0));
  });

  it('must not be left with a terminal, by a process that ends or died, and end no program', async () => {
    const other = sandbox.engine({ EXEC_AHEAD: 'on' }) as DockerEngine;
    const sleeper = { command: ['sleep', '4711'], ...TERMINAL };
    await other.programs.reserve(dockerId, sleeper);
    await eventually(async () => expect(await idle(dockerId)).toBe(1));
    const marker = await other.programs.reserve(dockerId, sleeper);
    await other.programs.start(dockerId, { ...sleeper, marker });
    expect(other.daemon.calls.sessions).toMatchObject({ taken: 1, missed: { none: 1 } });
    await eventually(async () => expect(await idle(dockerId)).toBe(1));
    other.onApplicationShutdown();
    await eventually(async () => expect(await idle(dockerId)).toBe(0));
    // As of a process that was killed.
    const left = await plain.programs.start(dockerId, {
      ...sessionCommand('berth-left', { env: {}, texts: [] }, true),
      ...TERMINAL,
    });
    await eventually(async () => expect(await idle(dockerId)).toBe(1));
    left.close();
    await engine.programs.reserve(dockerId, sleeper);
    await eventually(async () =>
      expect(await sandbox.exec(dockerId, ['ps', '-o', 'args'])).not.toContain('berth-left'),
    );
    await eventually(async () => expect(await idle(dockerId)).toBe(1));
    expect(await sandbox.exec(dockerId, ['ps', '-o', 'args'])).toContain('sleep 4711');
  });

  it('must run once where their session does not answer, or has died', async () => {
    for (const signal of ['STOP', 'KILL']) {
      const request = { command: ['sh', '-c', 'echo run >>/tmp/runs; cat /tmp/runs'] };
      const marker = await reserved(dockerId, request);
      await eventually(async () => expect(await idle(dockerId)).toBeGreaterThan(0));
      await sandbox.exec(dockerId, [
        'sh',
        '-c',
        `kill -${signal} $(ps -o pid,args | awk '/[B]ERTH_AHEAD/ { print $1 }')`,
      ]);
      const outcome = await outcomeOf(engine.programs.start(dockerId, { ...request, marker }));
      expect(outcome).toEqual({ stdout: 'run\n'.repeat(signal === 'STOP' ? 1 : 2), stderr: '', exit: 0 });
    }
  });

  it('must never get the variables of another request', async () => {
    const show = { command: ['sh', '-c', 'echo "$A$B"'] };
    for (const env of [{ A: '1' }, { B: '3' }, {}, { A: 'x'.repeat(300) }]) {
      for (let turn = 0; turn < 2; turn += 1) {
        const marker = await engine.programs.reserve(dockerId, { ...show, env });
        const { stdout } = await outcomeOf(engine.programs.start(dockerId, { ...show, env, marker }));
        expect(stdout).toBe(`${Object.values(env).join('')}\n`);
      }
    }
  });

  it('must not hold up a stop that nothing else holds up, and not outlive it', async () => {
    const dockerId = await sandbox.running(engine);
    // As a server does: one that is opened during a stop behind the engine's back would delay it.
    const watching = new AbortController();
    const told: string[] = [];
    const watched = (async () => {
      for await (const { kind } of engine.containers.watch(sandbox.instance, watching.signal)) told.push(kind);
    })();
    await eventually(() => expect(told).toContain('connected'));
    await reserved(dockerId, { command: ['true'] });
    // The reserved one and the next.
    await eventually(async () => expect(await idle(dockerId)).toBeGreaterThan(1));
    const { open } = sessions;
    const before = performance.now();
    await sandbox.real.docker.getContainer(dockerId).stop({ t: 10 });
    expect(performance.now() - before).toBeLessThan(5_000);
    await eventually(() => expect(sessions.open).toBeLessThan(open));
    await engine.containers.start(dockerId);
    await engine.programs.prepare(dockerId);
    expect((await outcomeOf(startAhead(dockerId, { command: ['echo', 'again'] }))).stdout).toBe('again\n');
    watching.abort();
    await watched;
  });

  it('must not be more than fit in their memory; the least recently used are closed', async () => {
    const small = sandbox.engine({ EXEC_AHEAD: 'on', EXEC_AHEAD_MEMORY_MB: 5 }) as DockerEngine;
    const [first = '', second = ''] = containers.values();
    for (const dockerId of [first, second]) {
      await small.programs.prepare(dockerId);
      await eventually(() => expect(small.daemon.calls.sessions.open).toBe(1));
    }
    const { missed } = small.daemon.calls.sessions;
    await eventually(async () => {
      const before = missed['none'] ?? 0;
      await small.programs.reserve(second, { command: ['true'] });
      expect(missed['none'] ?? 0).toBe(before);
    });
  });
});
