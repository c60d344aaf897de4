import { createHash } from 'node:crypto';
import { type AllowedPort, allowedPorts } from '../../network-policy';

/** A sandbox in a restricted network, and its allow list. */
export interface RestrictedSandbox {
  /** In lower case. Unlike the IP address, it stays the same for the sandbox's whole life. */
  readonly macAddress: string;
  readonly allow: readonly string[];
}

/**
 * The name of the chain at which the chain of every restricted network ends, one per instance: it sends the packets
 * of each sandbox on to a chain of its own, and drops all others. So a sandbox whose rules are not there yet reaches
 * only name servers.
 */
export function listsChain(instance: string): string {
  return `${prefixOf(instance)}allow`;
}

/** The name of a sandbox's chain; at most 28 characters, iptables' limit. */
function chainOf({ macAddress }: RestrictedSandbox, instance: string): string {
  return `${prefixOf(instance)}${macAddress.replaceAll(':', '')}`;
}

function prefixOf(instance: string): string {
  return `BERTH-${createHash('sha256').update(instance).digest('hex').slice(0, 8)}-`;
}

/** The rules of one sandbox in the format of `iptables -S`. */
function rulesOf(sandbox: RestrictedSandbox, instance: string): { chain: string; dispatch: string; rules: string[] } {
  const chain = chainOf(sandbox, instance);
  const open = ({ address, prefix, port, protocol }: AllowedPort): string => {
    // iptables prints no `-d` for all addresses.
    const target = prefix === 0 ? '' : `-d ${address}/${String(prefix)} `;
    if (port === null || protocol === null) return `-A ${chain} ${target}-j RETURN`;
    return `-A ${chain} ${target}-p ${protocol} -m ${protocol} --dport ${String(port)} -j RETURN`;
  };
  return {
    chain,
    dispatch: `-A ${listsChain(instance)} -m mac --mac-source ${sandbox.macAddress} -g ${chain}`,
    rules: [...allowedPorts(sandbox.allow).map(open), `-A ${chain} -j DROP`],
  };
}

/**
 * Compares the existing rules of sandboxes with the wanted ones. The change is right even if other processes add
 * rules meanwhile: a chain belongs to one sandbox, and the entries of other sandboxes stay.
 *
 * @param current the table as `iptables -S` prints it
 * @returns a change in the format of `iptables-restore --noflush`, to be applied as a whole; empty if all is right
 */
export function planLists(
  current: readonly string[],
  { instance, sandboxes }: { instance: string; sandboxes: readonly RestrictedSandbox[] },
): string[] {
  const lists = listsChain(instance);
  const drop = `-A ${lists} -j DROP`;
  const { declared, rulesIn } = parse(current);
  const dispatches = rulesIn(lists).map(inLowerCase);
  const isDispatch = (line: string): boolean => DISPATCH.test(line) && declared.has(line.split(' ').at(-1) ?? '');
  const isWhole = dispatches.at(-1) === drop && dispatches.slice(0, -1).every(isDispatch);
  const wanted = sandboxes.map((sandbox) => rulesOf(sandbox, instance));
  const chains = wanted.flatMap(({ chain, rules }) => {
    const isRight = rulesIn(chain).join('\n') === rules.join('\n');
    return isRight ? [] : [`:${chain} - [0:0]`, ...rules];
  });
  const present = new Set(dispatches);
  const missing = wanted.map(({ dispatch }) => dispatch).filter((dispatch) => !present.has(dispatch));
  // iptables refuses `-N` if another process has just created the chain; the change is then planned again.
  if (!declared.has(lists)) return [`-N ${lists}`, ...chains, ...missing, drop];
  if (!isWhole)
    return [`:${lists} - [0:0]`, ...chains, ...new Set([...dispatches.filter(isDispatch), ...missing]), drop];
  return [...chains, ...missing.map((dispatch) => dispatch.replace(`-A ${lists}`, `-I ${lists} 1`))];
}

/** The chains of a table, and the rules of each in their order. */
function parse(lines: readonly string[]): { declared: ReadonlySet<string>; rulesIn: (chain: string) => string[] } {
  const declared = new Set<string>();
  const rules = new Map<string, string[]>();
  for (const line of lines) {
    const [command, chain = ''] = line.split(' ', 2);
    if (command === '-N') declared.add(chain);
    if (command !== '-A') continue;
    const known = rules.get(chain);
    if (known) known.push(line);
    else rules.set(chain, [line]);
  }
  return { declared, rulesIn: (chain) => rules.get(chain) ?? [] };
}

const DISPATCH = /^-A \S+ -m mac --mac-source [0-9a-f:]{17} -g BERTH-\S+$/;

/** Versions of iptables differ in the case in which they print MAC addresses. */
function inLowerCase(rule: string): string {
  return rule.replace(/(?<=--mac-source )\S+/, (address) => address.toLowerCase());
}

/** The chains of an instance's sandboxes that belong to none of the given ones. */
export function staleChains(
  current: readonly string[],
  { instance, sandboxes }: { instance: string; sandboxes: readonly RestrictedSandbox[] },
): string[] {
  const known = new Set([listsChain(instance), ...sandboxes.map((sandbox) => chainOf(sandbox, instance))]);
  const chains = current.filter((line) => line.startsWith(`-N ${prefixOf(instance)}`)).map((line) => line.slice(3));
  return chains.filter((chain) => !known.has(chain));
}

/** @returns the change that removes these chains, and the rules that lead into them */
export function removalOf(current: readonly string[], chains: readonly string[]): string[] {
  const ways = current.filter((line) => chains.some((chain) => line.endsWith(` -g ${chain}`)));
  return [...ways.map((way) => way.replace('-A', '-D')), ...chains.flatMap((chain) => [`-F ${chain}`, `-X ${chain}`])];
}
