import { randomUUID } from 'node:crypto';
import { text } from 'node:stream/consumers';
import type { ContainerSpec } from '../../../src/engine';
import { eventually } from '../../../test/support/eventually';
import { SimulatedEngine } from '../src/simulated-engine';

const numbers = (last: number): string => Array.from({ length: last }, (_each, at) => `${String(at + 1)}\n`).join('');

describe('the shell of a simulated container', () => {
  const engine = new SimulatedEngine({ folder: null, speed: Infinity });
  let engineId: string;

  beforeAll(async () => {
    const containerId = randomUUID();
    const owner = { instance: 'test', containerId, userId: 'u' };
    const spec: ContainerSpec = {
      name: `berth-${containerId}`,
      image: 'berth/sandbox:latest',
      memoryMb: 256,
      cpuShares: 500,
      diskMb: 1,
      network: 'internet',
      processes: 64,
      volumeName: `berth-${containerId}`,
      owner,
      generation: 1,
    };
    await engine.host.prepare('i');
    await engine.volumes.ensure({ name: spec.volumeName, diskMb: spec.diskMb, owner });
    engineId = await engine.containers.create(spec);
    await engine.containers.start(engineId);
  });

  async function sh(script: string, ...args: string[]): Promise<string> {
    let said = '';
    const { exitCode } = await engine.programs.run(engineId, {
      command: ['sh', '-c', script, 'sh', ...args],
      timeoutMs: 5_000,
      maxOutputBytes: 1024 * 1024,
      onOutput: ({ data }) => (said += data.toString()),
    });
    return exitCode === 0 ? said : `${said}[${String(exitCode)}]`;
  }

  it.each<[string, string]>([
    ['mkdir /tmp/d; printf %3000s x > /tmp/d/f; du -skx /tmp/d', '3\t/tmp/d\n'],
    ['echo hello', 'hello\n'],
    // More in one write than is kept for readers to come.
    ['seq 1 20000 | tail -1; seq 1 20000; echo last', `20000\n${numbers(20_000)}last\n`],
    ['pwd; whoami; echo $HOME', '/home/user\nroot\n/home/user\n'],
    ['x=1; y="a  b"; echo $y "$y" ${x}2 ${z:-none} ${#y}', 'a b a  b 12 none 4\n'],
    ['for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done', '1\n3\n'],
    ['i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; echo $i', '3\n'],
    ['case abc in a*) echo yes ;; *) echo no ;; esac', 'yes\n'],
    ['f() { echo "$1-$#"; return 3; }; f a b; echo $?', 'a-2\n3\n'],
    ['echo a b c | tr a-z A-Z | wc -c', '6\n'],
    ['echo $(echo one; echo two) `echo three`', 'one two three\n'],
    ['set -- a "b c"; for x; do echo "<$x>"; done; shift; echo $#', '<a>\n<b c>\n1\n'],
    ['mkdir -p d/e; echo hi >d/e/f; cat d/e/f; ls d; rm -r d; ls', 'hi\ne\n'],
    ['echo out; echo err >&2; exit 7', 'out\nerr\n[7]'],
    ['cat <<EOF\nx $((1+2))\nEOF', 'x 3\n'],
    ['p=/a/b/c.txt; echo ${p##*/} ${p%/*} ${p%.txt}', 'c.txt /a/b /a/b/c\n'],
    ['(cd /tmp; pwd); pwd', '/tmp\n/home/user\n'],
    ['trap "echo bye" EXIT; echo hi', 'hi\nbye\n'],
    ['sleep 0.01 & wait $!; echo $?', '0\n'],
    ['no-such', 'sh: 1: no-such: not found\n[127]'],
    ['cat no-such', 'cat: no-such: No such file or directory\n[1]'],
    ['true && echo a || echo b; false && echo c || echo d', 'a\nd\n'],
    ['if ! false; then echo ok; fi; ! true; echo $?', 'ok\n1\n'],
    ['printf "%s-%03d\\n" a 7 b 8', 'a-007\nb-008\n'],
    ['echo "a:b:c" | { IFS=: read -r x y; echo "$x $y"; }', 'a b:c\n'],
    ['seq 3 | while read n; do echo "n$n"; done', 'n1\nn2\nn3\n'],
    ['yes | head -n 2', 'y\ny\n'],
    ['echo b >x; echo a >>x; sort x; grep -c a x; rm x', 'a\nb\n1\n'],
    ['set -e; false; echo never', '[1]'],
    ['echo {1..3}', '1 2 3\n'],
    ['a= b=2 c=; echo "<$a$b$c>"', '<2>\n'],
    ['head -c 2000000 /dev/zero >big', 'head: /dev/zero: No space left on device\n[1]'],
  ])('%s', async (script, said) => {
    expect(await sh(script)).toBe(said);
  });

  it('must open ports that are listed, and that answer while they are open', async () => {
    await engine.programs.start(engineId, { command: ['nc', '-l', '-p', '8080'] });
    await eventually(async () =>
      expect(await engine.ports.listening(engineId)).toEqual([{ port: 8080, addresses: ['0.0.0.0'] }]),
    );
    const connection = await engine.ports.connect(engineId, 8080);
    connection.write('GET / HTTP/1.1\r\n\r\n');
    expect(await text(connection)).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*listens on port 8080\.\n$/);
    await expect(engine.ports.connect(engineId, 8081)).rejects.toMatchObject({ code: 'port_closed' });
  });
});
