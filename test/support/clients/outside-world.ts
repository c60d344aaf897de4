import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { Program } from '../servers/program';

const run = promisify(execFile);
const NAMESPACES = '/run/netns';
/** Namespaces of test processes, with the process id. */
const NAMESPACE = /^berth-test-(\d+)$/;
const LINK = /\bbt(\d+)@/g;
const NAME = 'somewhere.example';

/** Answers every TCP connection with its name, and every name query with a documentation address. */
const SERVERS = `
  const answer = (port, text) => require('node:net').createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(text);
  }).listen(port, () => console.log('listening'));
  answer(8000, 'the outside world\\n');
  answer(80, 'credentials of the machine\\n');
  const names = require('node:dgram').createSocket('udp4', (question, from) => {
    const header = Buffer.from(question.subarray(0, 12));
    header[2] = 0x81; header[3] = 0x80; header.fill(0, 6); 
    let end = 12;
    while (question[end] !== 0) end += question[end] + 1;
    const isAddress = question.readUInt16BE(end + 1) === 1;
    header[7] = isAddress ? 1 : 0;
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 203, 0, 113, 9]);
    const parts = [header, question.subarray(12, end + 5), ...(isAddress ? [record] : [])];
    names.send(Buffer.concat(parts), from.port, from.address);
  });
  names.bind(53, () => console.log('listening'));
`;

/** True if the process is this one, or gone. */
function isUnused(pid: string): boolean {
  return Number(pid) === process.pid || !existsSync(`/proc/${pid}`);
}

/** Removes what killed processes left: their routes would take precedence over ours. */
async function removeRemains(): Promise<void> {
  const { stdout } = await run('ip', ['-o', 'link']);
  for (const [, pid = ''] of stdout.matchAll(LINK))
    if (isUnused(pid)) await run('ip', ['link', 'delete', `bt${pid}`]).catch(() => undefined);
  for (const namespace of existsSync(NAMESPACES) ? await readdir(NAMESPACES) : []) {
    const pid = NAMESPACE.exec(namespace)?.[1];
    if (pid && isUnused(pid)) await run('ip', ['netns', 'delete', namespace]).catch(() => undefined);
  }
}

/**
 * A network namespace that simulates the hosts outside this machine: a server, a name server, and, as in a cloud, a
 * metadata service at a link-local address. The machine routes to it as to its own network. It replies only to the
 * machine's address on the link between them.
 */
export class OutsideWorld {
  private readonly namespace = `berth-test-${String(process.pid)}`;
  private readonly link = `bt${String(process.pid)}`;
  /** The third number of its addresses, which no other world has; known once it has started. */
  private third = 0;
  private servers: Program | null = null;

  /** The machine's own address on the link. */
  get near(): string {
    return `198.18.${String(this.third)}.1`;
  }

  /** TCP on ports 80 and 8000, DNS on 53. */
  get far(): string {
    return `198.18.${String(this.third)}.2`;
  }

  /** The same services as {@link far}, at another address. */
  get further(): string {
    return `198.19.${String(this.third)}.2`;
  }

  /**
   * TCP on port 80, at a link-local address like that of a cloud's metadata service. Not at the usual one
   * (169.254.169.254), to which this machine may have a route of its own.
   */
  get metadata(): string {
    return `169.254.${String(this.third + 1)}.254`;
  }

  /** The name that the name server resolves. */
  get name(): { text: string; address: string } {
    return { text: NAME, address: '203.0.113.9' };
  }

  async start(): Promise<void> {
    const { namespace, link } = this;
    await removeRemains();
    await run('ip', ['netns', 'add', namespace]);
    await run('ip', ['link', 'add', link, 'type', 'veth', 'peer', 'name', 'out', 'netns', namespace]);
    await this.takeAddress();
    await run('ip', ['link', 'set', link, 'up']);
    for (const command of [
      'link set lo up',
      'link set out up',
      `address add ${this.far}/30 dev out`,
      `address add ${this.further}/32 dev lo`,
      `address add ${this.metadata}/32 dev lo`,
    ])
      await run('ip', ['-n', namespace, ...command.split(' ')]);
    await run('ip', ['route', 'add', `${this.further}/32`, 'via', this.far]);
    await run('ip', ['route', 'add', `${this.metadata}/32`, 'via', this.far]);
    const args = [`--net=/run/netns/${namespace}`, process.execPath, '-e', SERVERS];
    this.servers = new Program('nsenter', args);
    await this.servers.started(this.servers.untilSaid('listening', { times: 3 }));
  }

  /** Takes the first free address. Of two worlds that take the same one at once, the second link gives it back. */
  private async takeAddress(): Promise<void> {
    for (this.third = 1; this.third < 250; this.third += 1) {
      const holders = async (): Promise<string[]> => {
        const { stdout } = await run('ip', ['-o', 'address', 'show', 'to', `${this.near}/32`]);
        return stdout.split('\n').flatMap((line) => /^\d+: (\S+)/.exec(line)?.[1] ?? []);
      };
      if ((await holders()).length > 0) continue;
      const address = [`${this.near}/30`, 'dev', this.link];
      await run('ip', ['address', 'add', ...address]);
      if ((await holders())[0] === this.link) return;
      await run('ip', ['address', 'delete', ...address]);
    }
    throw new Error('no address of 198.18.0.0/16 is free');
  }

  async stop(): Promise<void> {
    await this.servers?.end('SIGKILL');
    // The link's routes are deleted with it.
    await run('ip', ['link', 'delete', this.link]).catch(() => undefined);
    await run('ip', ['netns', 'delete', this.namespace]);
  }
}
