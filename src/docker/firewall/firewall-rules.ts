import { listsChain } from './allow-rules';

/** Where packets enter the host, before the kernel decides whether they are for the host itself or to be forwarded. */
const HOOK = 'PREROUTING';
const CHAIN_PREFIX = 'BERTH-';

/** Link-local addresses: clouds serve the host's credentials there (169.254.169.254). */
const LINK_LOCAL = '169.254.0.0/16';

/**
 * Flows that one sandbox may have open at once, in its address's name: each takes an entry of the host's connection
 * table (`nf_conntrack_max`), which all sandboxes and the host share. The kernel does not count TCP connections that
 * have ended, whose entries stay for two minutes; so new ones are also limited in number, per second.
 */
const MOST_FLOWS = 2048;
const TCP = { perSecond: 50, burst: 1000 } as const;

/** Has no effect on packets of flows that were answered. */
function flowLimits(chain: string): string[] {
  const isNew = '-m conntrack --ctstate NEW';
  const hash = `-m hashlimit --hashlimit-above ${TCP.perSecond}/sec --hashlimit-burst ${TCP.burst}`;
  return [
    `${isNew} -m connlimit --connlimit-above ${MOST_FLOWS} --connlimit-mask 32 --connlimit-saddr -j DROP`,
    `-p tcp ${isNew} ${hash} --hashlimit-mode srcip --hashlimit-name ${chain} -j DROP`,
  ];
}

/** A network of an instance's sandboxes. */
export interface SandboxBridge {
  readonly instance: string;
  readonly networkId: string;
  /** The name of the network's interface on the host. */
  readonly bridge: string;
  /** Whether its sandboxes reach only the entries of their allow lists: see `allow-rules.ts`. */
  readonly isRestricted?: true;
  /** The subnet of a restricted network, in canonical form. */
  readonly subnet?: string;
}

/** What sandboxes may and may not reach over IPv4, in addition to the fixed rules. */
interface Reach {
  /** Networks in canonical form, such as `10.0.0.0/8`. */
  readonly blocked: readonly string[];
  /** Exceptions from all other rules, over TCP: addresses with ports. */
  readonly allowed: readonly string[];
  /** Name servers that sandboxes may query, and Docker on a sandbox's behalf from within its network namespace. */
  readonly nameServers: readonly string[];
}

/** A chain, and the rule that jumps to it, in the format of `iptables -S`. */
export interface FirewallRules {
  readonly chain: string;
  readonly jump: string;
  readonly rules: readonly string[];
}

/** @returns the name of the chain for a network; at most 28 characters, iptables' limit */
export function chainName(networkId: string): string {
  return `${CHAIN_PREFIX}${networkId.slice(0, 12)}`;
}

/**
 * The tables that filter. Restricted networks have rules in both: if another program empties one, the other stays in
 * force.
 */
export type FirewallTable = 'mangle' | 'raw';

/**
 * Lets sandboxes reach what the host forwards, and nothing on the host itself. `! UNICAST` matches everything that is
 * for the host: each of its addresses, broadcast and multicast. These rules precede Docker's address translation, so
 * they also match an address of the host at which a container's port is published.
 */
export function ipv4Rules(
  network: SandboxBridge,
  { blocked, allowed, nameServers }: Reach,
  table: FirewallTable = 'mangle',
): FirewallRules {
  const chain = chainName(network.networkId);
  const lists = `-g ${listsChain(network.instance)}`;
  const open = (address: string, protocol: 'udp' | 'tcp', port: string, verdict = '-j RETURN'): string =>
    `-d ${address}/32 -p ${protocol} -m ${protocol} --dport ${port} ${verdict}`;
  const rules = [
    network.isRestricted ? ANSWERS[table] : '-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN',
    // `raw` precedes the connection table.
    ...(table === 'mangle' ? flowLimits(chain) : []),
    ...nameServers.flatMap((server) => [open(server, 'udp', '53'), open(server, 'tcp', '53')]),
    ...allowed.map((service) => {
      const [address = '', port = ''] = service.split(':');
      return open(address, 'tcp', port, network.isRestricted && lists);
    }),
    '-m addrtype ! --dst-type UNICAST -j DROP',
    `-d ${LINK_LOCAL} -j DROP`,
    ...blocked.filter((each) => each !== LINK_LOCAL).map((each) => `-d ${each} -j DROP`),
    ...(network.isRestricted ? [lists] : []),
  ];
  return { chain, jump: jumpOf(network), rules: rules.map((rule) => `-A ${chain} ${rule}`) };
}

/**
 * Lets a restricted sandbox answer on connections that the host itself opened, such as an operator's health check.
 * Connections that a sandbox opened do not pass as established: an earlier holder of its address may have opened one
 * to a forbidden target. `raw` precedes connection tracking: there, TCP packets that open no connection pass and are
 * left to `mangle`.
 */
const ANSWERS: Readonly<Record<FirewallTable, string>> = {
  mangle: '-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j RETURN',
  raw: '-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN',
};

/**
 * Drops all IPv6, which sandboxes do not have. Docker 26.0.0 gave it to containers on networks without IPv6
 * (CVE-2024-32473).
 */
export function ipv6Rules(network: SandboxBridge): FirewallRules {
  const chain = chainName(network.networkId);
  return { chain, jump: jumpOf(network), rules: [`-A ${chain} -j DROP`] };
}

function jumpOf({ networkId, bridge, instance }: SandboxBridge): string {
  return `-A ${HOOK} -i ${bridge} -m comment --comment "${mark(instance)}" -j ${chainName(networkId)}`;
}

const mark = (instance: string): string => `berth:${instance}`;

/** iptables quotes a comment only if it has to. */
const bare = (line: string): string => line.replaceAll('"', '');

/** Changes in the format of `iptables-restore --noflush`, each to be applied as a whole. */
interface FirewallChange {
  /** Puts the rules in force; empty if they are. Succeeds regardless of what other processes change meanwhile. */
  readonly needed: string[];
  /** Removes duplicates, and rules for removed networks. Refused, without harm, if another process was faster. */
  readonly tidying: string[];
}

/**
 * Compares the existing rules with the wanted ones.
 *
 * @param current the table as `iptables -S` prints it
 * @param isInterface whether the host has a network interface of this name; the same instance's rules for a missing one
 * belong to a removed network
 */
export function planFirewall(
  current: readonly string[],
  {
    wanted,
    instance,
    isInterface,
  }: { wanted: FirewallRules; instance: string; isInterface: (name: string) => boolean },
): FirewallChange {
  const jumps = current.filter(
    (line) => line.startsWith(`-A ${HOOK} `) && bare(line).includes(` ${mark(instance)} -j `),
  );
  const stale = jumps.filter(
    (jump) => targetOf(jump) !== wanted.chain && !isInterface(/ -i (\S+) /.exec(jump)?.[1] ?? ''),
  );
  const own = jumps.filter((jump) => targetOf(jump) === wanted.chain);
  const rules = current.filter((line) => line.startsWith(`-A ${wanted.chain} `));
  const isIn = own.some((jump) => bare(jump) === bare(wanted.jump));
  const wayIn = wanted.jump.replace(`-A ${HOOK}`, `-I ${HOOK} 1`);
  const staleChains = new Set(stale.map(targetOf));
  // The first line creates or empties the chain, within the same change.
  const rebuilt = [`:${wanted.chain} - [0:0]`, ...wanted.rules, ...(isIn ? [] : [wayIn])];
  return {
    needed: isIn && isSame(rules, wanted.rules) ? [] : rebuilt,
    tidying: [
      // Removes all duplicates and adds one: if two processes find the same two, the second change is refused, and
      // removes none.
      ...(own.length > 1 ? [...own.map(deletionOf), wayIn] : []),
      ...stale.map(deletionOf),
      ...Array.from(staleChains, (chain) => [`-F ${chain}`, `-X ${chain}`]).flat(),
    ],
  };
}

/**
 * Plans the address translation of a restricted network, by the rule that Docker would make. Docker's own is switched
 * off for these networks, so that hosts beyond this machine's own networks cannot answer their sandboxes while there
 * are no firewall rules, as at boot.
 *
 * @param current the table `nat` as `iptables -S` prints it
 * @returns a change in the format of `iptables-restore --noflush`; empty if all is right
 */
export function planTranslation(
  current: readonly string[],
  { network, isInterface }: { network: SandboxBridge; isInterface: (name: string) => boolean },
): string[] {
  const { bridge, instance, subnet = '' } = network;
  const rule = `-A POSTROUTING -s ${subnet} ! -o ${bridge} -m comment --comment "${mark(instance)}" -j MASQUERADE`;
  const own = current.filter((line) => bare(line).endsWith(` ${mark(instance)} -j MASQUERADE`));
  const stale = own.filter((line) => {
    const name = / ! -o (\S+) /.exec(line)?.[1] ?? '';
    return bare(line) !== bare(rule) && (name === bridge || !isInterface(name));
  });
  const isThere = own.some((line) => bare(line) === bare(rule));
  return [...(isThere ? [] : [rule]), ...stale.map(deletionOf)];
}

/** What no sandbox may send a packet out of: the bridges of all Berths whose rules are on this host. */
const BRIDGES = `${CHAIN_PREFIX}BRIDGES`;

/**
 * Plans the rules that keep the networks of all Berths on this host apart. Docker (26.1) removes its own for a moment
 * whenever it makes a network. Each network has a rule that leads into the shared chain, and one in it.
 *
 * @param current the table `mangle` as `iptables -S` prints it
 */
export function planIsolation(
  current: readonly string[],
  { network, isInterface }: { network: SandboxBridge; isInterface: (name: string) => boolean },
): FirewallChange {
  const { bridge, instance } = network;
  const comment = `-m comment --comment "${mark(instance)}"`;
  const wanted = [`-A FORWARD -i ${bridge} ${comment} -j ${BRIDGES}`, `-A ${BRIDGES} -o ${bridge} ${comment} -j DROP`];
  const added = (rule: string): string => rule.replace('-A FORWARD', '-I FORWARD 1');
  const copiesOf = (rule: string): string[] => current.filter((line) => bare(line) === bare(rule));
  const missing = wanted.filter((rule) => copiesOf(rule).length === 0);
  const stale = current.filter((line) => {
    const [, name] = /^-A (?:FORWARD -i|BERTH-BRIDGES -o) (\S+) /.exec(line) ?? [];
    return name !== undefined && bare(line).includes(` ${mark(instance)} -j `) && !isInterface(name);
  });
  return {
    needed: [
      // iptables refuses this if another process has just created the chain; the change is then planned again.
      ...(missing.length > 0 && !current.includes(`-N ${BRIDGES}`) ? [`-N ${BRIDGES}`] : []),
      ...missing.map(added),
    ],
    tidying: [
      ...wanted.flatMap((rule) => (copiesOf(rule).length > 1 ? [...copiesOf(rule).map(deletionOf), added(rule)] : [])),
      ...stale.map(deletionOf),
    ],
  };
}

function targetOf(jump: string): string {
  return jump.slice(jump.lastIndexOf(' ') + 1);
}

function deletionOf(rule: string): string {
  return rule.replace('-A', '-D');
}

function isSame(found: readonly string[], wanted: readonly string[]): boolean {
  return found.length === wanted.length && found.every((line, index) => bare(line) === bare(wanted[index] ?? ''));
}
