import { spawnSync } from 'node:child_process';
import { lineOf, passThroughShell, sessionCommand, type SessionTerms, signalsOf, suits } from './session-line';

const NONE: SessionTerms = { env: {}, texts: [] };

describe('the line that makes a session become a program', () => {
  it.each<[string, Parameters<typeof lineOf>[1], string]>([
    ['plain words as they are', { command: ['ls', '-la', '/tmp'] }, "r n '' ls -la /tmp"],
    ['others in quotes', { command: ['echo', "it's $x", ''] }, "r n '' echo 'it'\\''s $x' ''"],
    ['a newline as an argument of the session', { command: ['echo', 'a\nb'] }, `r n '' echo 'a'"$1"'b'`],
    ['the directory and the input', { command: ['cat'], cwd: '/usr', stdin: true }, 'r i /usr cat'],
    ['variables that the session lacks', { command: ['env'], env: { A: 'b c' } }, "export A='b c';r n '' env"],
  ])('must have %s', (_what, request, line) => {
    expect(lineOf(NONE, request)).toEqual({ line: `${line}\n` });
  });

  it('must name arguments that the session knows by their numbers', () => {
    const texts = Array.from({ length: 9 }, (_nothing, index) => `script ${String(index)}`);
    const terms = { env: { A: '1' }, texts };
    const command = ['sh', '-c', 'script 0', 'script 8'];
    expect(lineOf(terms, { command, env: { A: '1' } })).toEqual({ line: `r n '' sh -c "$2" "\${10}"\n` });
  });

  it("must have the session's shell evaluate one of Berth's own scripts, and no command of a user", () => {
    const terms = { env: {}, texts: ['script 0', 'script 1'] };
    const command = ['sh', '-c', 'script 1', 'berth', '/a b', ''];
    const evaluated = (line: string): unknown => ({ line: `${line}\n`, isEvaluated: true });
    expect(lineOf(terms, { command })).toEqual(evaluated("berth=$3;exec </dev/null;set -- '/a b' ''"));
    expect(lineOf(terms, { command, stdin: true })).toEqual(evaluated("berth=$3;set -- '/a b' ''"));
    const login = { command: ['/bin/sh', '-c', 'script 0', 'berth'], terminal: true, stdin: true } as const;
    expect(lineOf(terms, login)).toEqual(evaluated('berth=$2;set --'));
    const others: Parameters<typeof lineOf>[1][] = [
      { command: ['sh', '-c', 'script 2', 'berth'] },
      { command: ['sh', '-c', 'script 1', 'other'] },
      { command, cwd: '/' },
      { command: ['bash', ...command.slice(1)] },
      { command, env: { A: '1' } },
    ];
    for (const request of others) expect(lineOf(terms, request).isEvaluated).toBeUndefined();
  });

  it.each<[string, SessionTerms, Parameters<typeof lineOf>[1], string]>([
    ['is too long', NONE, { command: ['echo', 'x'.repeat(250)] }, 'length'],
    [
      'has another value of a variable',
      { env: { A: '1' }, texts: [] },
      { command: ['x'], env: { A: '2' } },
      'variables',
    ],
    ['lacks a variable', { env: { A: '1' }, texts: [] }, { command: ['x'] }, 'variables'],
    ['has a variable that is no shell name', NONE, { command: ['x'], env: { 'a.b': '1' } }, 'variables'],
    ["has one of the shell's own variables", NONE, { command: ['x'], env: { PWD: '/x' } }, 'variables'],
    ['has a relative path', NONE, { command: ['./x'] }, 'form'],
    ['has a directory that a shell resolves otherwise', NONE, { command: ['x'], cwd: '/a/../b' }, 'form'],
    ['has no name', NONE, { command: [''] }, 'form'],
    [
      'would send a control character to a terminal',
      NONE,
      { command: ['x', '\x03'], terminal: true, stdin: true },
      'form',
    ],
  ])('must not exist for a program that %s', (_what, terms, request, unsuitable) => {
    expect(lineOf(terms, request)).toEqual({ unsuitable });
  });

  it('must leave the marker to the session, as the program is found and ended by it', () => {
    const request = { command: ['x'], env: { BERTH_SESSION: 'mine', A: '1' } };
    expect(lineOf(NONE, request)).toEqual({ line: "export A=1;r n '' x\n" });
    expect(lineOf({ env: { BERTH_SESSION: 'yours' }, texts: [] }, request)).toEqual({ line: "export A=1;r n '' x\n" });
  });

  it('must not consist of variables for the most part', () => {
    expect(suits(NONE, { A: 'x'.repeat(100) })).toBe(true);
    expect(suits(NONE, { A: 'x'.repeat(200) })).toBe(false);
    expect(passThroughShell(['PATH', 'HOME', 'LANG'])).toBe(true);
    expect(passThroughShell(['berth_line'])).toBe(false);
  });
});

describe('the script of a session, in the shell of this machine', () => {
  const TOKEN = 'berth-token';
  const { ready, begun, declined } = signalsOf(TOKEN);

  function run(request: Parameters<typeof lineOf>[1], stdin = ''): ReturnType<typeof spawnSync> {
    const terms = { env: { PATH: '/usr/bin:/bin' }, texts: ['a text that is known'] };
    const asked = { ...request, env: { ...terms.env, ...request.env } };
    const { command, env } = sessionCommand(TOKEN, terms);
    const input = `${String(lineOf(terms, asked).line)}${stdin}`;
    return spawnSync(command[0] ?? '', command.slice(1), { env, input, encoding: 'utf8' });
  }

  it('must become the program, with its arguments, variables and input', () => {
    const command = [
      'sh',
      '-c',
      'printf "%s|" "$@"; cat; env; exit 3',
      'name',
      `a'b`,
      'c\nd',
      '',
      'a text that is known',
    ];
    const { stdout, stderr, status } = run({ command, stdin: true, env: { ADDED: 'x y' } }, 'line\nrest');
    expect(String(stdout)).toContain(`a'b|c\nd||a text that is known|line\nrest`);
    expect(String(stdout)).toContain('ADDED=x y\n');
    expect(String(stdout)).not.toMatch(/BERTH_AHEAD|berth_/);
    expect([String(stderr), status]).toEqual([`${ready}\n${begun}\n`, 3]);
  });

  it("must evaluate one of Berth's own scripts as a shell of its own would, but for its name", () => {
    const text = `set | grep '^berth_'; type no has search r s; printf '%s|' "$#" "$@"; IFS= read -r line; echo "<$line>"
      cat; set -- $line; trap 'echo end' EXIT; cd /nowhere; echo "$1$(env | cut -d= -f1 | sort | tr '\n' ' ')"; exit 7`;
    const env = { PATH: '/usr/bin:/bin' };
    const args = ['sh', '-c', text, 'berth', `it's`, '', 'a\nb', '$x'];
    const [plain = '', ...rest] = args;
    const own = spawnSync(plain, rest, { env, input: ' one  two\nthree', encoding: 'utf8' });
    const terms = { env, texts: ['another', text] };
    const { line, isEvaluated } = lineOf(terms, { command: args, env, stdin: true });
    expect(isEvaluated).toBe(true);
    const { command, env: opened } = sessionCommand(TOKEN, terms);
    const session = spawnSync(command[0] ?? '', command.slice(1), {
      env: opened,
      input: `${String(line)} one  two\nthree`,
      encoding: 'utf8',
    });
    const [readyLine, begunLine, ...said] = session.stderr.split('\n');
    expect([readyLine, begunLine]).toEqual([ready, begun]);
    const unnamed = (words: string): string => words.replace(/^(sh|berth[\w-]*): (line )?\d+: /gm, '');
    expect([session.stdout, unnamed(said.join('\n')), session.status]).toEqual([own.stdout, unnamed(own.stderr), 7]);
  });

  it.each<[string, Parameters<typeof lineOf>[1]]>([
    ['a missing program', { command: ['no-such-program'] }],
    ['a command of the shell', { command: ['eval', 'exit 5'] }],
    ['a directory', { command: ['/usr'] }],
    ['a missing directory', { command: ['true'], cwd: '/nowhere' }],
  ])('must decline %s', (_what, request) => {
    const { stdout, stderr, status } = run(request);
    expect([String(stdout), String(stderr), status]).toEqual(['', `${ready}\n${declined}\n`, 0]);
  });

  it('must end with its input', () => {
    const { command, env } = sessionCommand(TOKEN, NONE);
    const { stderr, status } = spawnSync(command[0] ?? '', command.slice(1), {
      env: { ...process.env, ...env },
      input: '',
    });
    expect([String(stderr), status]).toEqual([`${ready}\n`, 0]);
  });
});
