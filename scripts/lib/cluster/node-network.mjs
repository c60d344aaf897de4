/**
 * The network of a cluster's nodes on one machine: a bridge, and a network namespace for each node. Everything has the
 * network's own name in it, so that what a killed run left is found, and nothing else is touched. The process itself
 * may be in any network namespace.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { run } from '../command.mjs';
import { Problem } from '../problem.mjs';

/** Docker's own pools for networks are others, and so are those of a Swarm's overlay networks. */
const SUBNETS = Array.from({ length: 40 }, (_none, index) => `10.${201 + index}.77.0`);
const PREFIX = 24;
/** The last number of the first node's address, less one. */
const FIRST = 10;
const FORWARDING = '/proc/sys/net/ipv4/ip_forward';

const cleanup = { cleanup: true };
const ip = (...args) => run('ip', args, cleanup);
const quietly = (work) => work.catch(() => {});

export class NodeNetwork {
  /** @param {string} folder whose network it is @param {string} [subnet] of an earlier run, to be had again */
  constructor(folder, subnet) {
    this.id = createHash('sha256').update(folder).digest('hex').slice(0, 6);
    // A network interface's name has at most 15 characters.
    this.bridge = `berth-${this.id}`;
    this.mark = `berth-nodes-${this.id}`;
    this.subnet = subnet;
  }

  /** @returns {string} the machine's own address in it */
  get gateway() {
    return this.address(1 - FIRST);
  }

  /** @param {number} number of a node, from 1 */
  address(number) {
    return this.subnet.replace(/\.0$/, `.${FIRST + number}`);
  }

  namespace(number) {
    return `berth-${this.id}-${number}`;
  }

  /** The end of a node's cable that is at the bridge. */
  cable(number) {
    return `bv${this.id}-${number}`;
  }

  /** @returns {Promise<string>} the subnet @throws Problem if it is taken */
  async up() {
    await this.clear();
    this.subnet = await freeSubnet(this.subnet);
    await ip('link', 'add', this.bridge, 'type', 'bridge');
    await ip('addr', 'add', `${this.gateway}/${PREFIX}`, 'dev', this.bridge);
    await ip('link', 'set', this.bridge, 'up');
    this.wasForwarding = readFileSync(FORWARDING, 'utf8').trim();
    if (this.wasForwarding !== '1') writeFileSync(FORWARDING, '1');
    for (const { table, chain, rule } of this.rules()) {
      await run('iptables', ['-w', '-t', table, '-I', chain, '1', ...rule]);
    }
    return this.subnet;
  }

  /** A Docker on the machine lets nothing else through, and knows no way back to the nodes. */
  rules() {
    const comment = ['-m', 'comment', '--comment', this.mark];
    const network = `${this.subnet}/${PREFIX}`;
    const answers = ['-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED'];
    return [
      { table: 'filter', chain: 'FORWARD', rule: ['-i', this.bridge, ...comment, '-j', 'ACCEPT'] },
      { table: 'filter', chain: 'FORWARD', rule: ['-o', this.bridge, ...answers, ...comment, '-j', 'ACCEPT'] },
      {
        table: 'nat',
        chain: 'POSTROUTING',
        rule: ['-s', network, '!', '-o', this.bridge, ...comment, '-j', 'MASQUERADE'],
      },
    ];
  }

  /** A node's namespace and cable, both new: as a machine's after a boot. */
  async addNode(number) {
    await this.removeNode(number);
    const namespace = this.namespace(number);
    await ip('netns', 'add', namespace);
    await ip('link', 'add', this.cable(number), 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
    await ip('link', 'set', this.cable(number), 'master', this.bridge, 'up');
    const within = (...args) => ip('-n', namespace, ...args);
    await within('link', 'set', 'lo', 'up');
    await within('addr', 'add', `${this.address(number)}/${PREFIX}`, 'dev', 'eth0');
    await within('link', 'set', 'eth0', 'up');
    await within('route', 'add', 'default', 'via', this.gateway);
  }

  /** What still runs there keeps the namespace, without a cable, for as long as it runs. */
  async removeNode(number) {
    await quietly(ip('link', 'del', this.cable(number)));
    await quietly(ip('netns', 'del', this.namespace(number)));
  }

  /** Pulls the cable: packets are lost without an error. */
  async cut(number) {
    await ip('link', 'set', this.cable(number), 'down');
  }

  async heal(number) {
    await ip('link', 'set', this.cable(number), 'up');
  }

  async down() {
    await this.clear();
    if (this.wasForwarding === '0') writeFileSync(FORWARDING, '0');
  }

  /** Removes all that has its name; also what a killed run left. */
  async clear() {
    const namespaces = await run('ip', ['netns', 'list'], cleanup);
    for (const [, number] of namespaces.matchAll(new RegExp(`^berth-${this.id}-(\\d+)\\b`, 'gm'))) {
      await this.removeNode(number);
    }
    const links = await run('ip', ['-o', 'link', 'show'], cleanup);
    for (const [, cable] of links.matchAll(new RegExp(`(bv${this.id}-\\d+)@`, 'g'))) {
      await quietly(ip('link', 'del', cable));
    }
    if (links.includes(` ${this.bridge}:`)) await quietly(ip('link', 'del', this.bridge));
    for (const table of ['filter', 'nat']) {
      const rules = await quietly(run('iptables', ['-w', '-t', table, '-S'], cleanup));
      for (const rule of (rules ?? '').split('\n').filter((line) => line.includes(` ${this.mark} `))) {
        await quietly(run('iptables', ['-w', '-t', table, '-D', ...rule.split(' ').slice(1)], cleanup));
      }
    }
  }
}

/** @returns {Promise<string>} an address that ends in 0 @throws Problem */
async function freeSubnet(earlier) {
  // The destination of every route, except the default one, is in use.
  const routes = JSON.parse((await run('ip', ['-j', '-4', 'route', 'show', 'table', 'all'])) || '[]');
  const taken = routes.map(({ dst }) => dst).filter((dst) => isIPv4(dst.split('/')[0]));
  const isFree = (subnet) => !taken.some((dst) => overlap(dst, subnet));
  const subnet = (earlier ? [earlier] : SUBNETS).find(isFree);
  if (subnet) return subnet;
  throw new Problem(
    earlier
      ? `The nodes' network ${earlier}/${PREFIX} is in use on this machine now.`
      : `There is no free network for the nodes among ${SUBNETS[0]}/${PREFIX} to ${SUBNETS.at(-1)}/${PREFIX}.`,
  );
}

const bits = (address) => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);

function overlap(route, subnet) {
  const [address, prefix = '32'] = route.split('/');
  const size = 2 ** (32 - Math.min(Number(prefix), PREFIX));
  return Math.floor(bits(address) / size) === Math.floor(bits(subnet) / size);
}
