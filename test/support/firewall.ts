import { Iptables } from '../../src/docker/firewall/iptables';

const FILTERS = [new Iptables('iptables'), new Iptables('ip6tables')];
const MARK = (instance: string): string => `berth:${instance}`;

/** The rules of an instance's sandboxes on this machine, IPv4 and IPv6: those that lead into its chains, and those within. */
export async function firewallRulesOf(instance: string): Promise<string[]> {
  const all = await Promise.all(FILTERS.map(async (filter) => rulesIn(await filter.rules(), instance)));
  return all.flat();
}

/** Takes away the rules of an instance, as whoever flushes a firewall does. The chains are only emptied if they are to stay. */
export async function removeFirewallRules(instance: string, { keepChains = false } = {}): Promise<void> {
  for (const filter of FILTERS) {
    // Where there is no iptables there is no rule to take away.
    const rules = rulesIn(await filter.rules().catch(() => []), instance);
    const jumps = rules.filter((rule) => rule.startsWith('-A PREROUTING '));
    const chains = [...new Set(jumps.map(chainOf))];
    const removal = chains.flatMap((chain) => [`-F ${chain}`, ...(keepChains ? [] : [`-X ${chain}`])]);
    if (jumps.length > 0) await filter.apply([...jumps.map((jump) => jump.replace('-A', '-D')), ...removal]);
  }
}

function rulesIn(lines: readonly string[], instance: string): string[] {
  const jumps = lines.filter((line) => line.replaceAll('"', '').includes(` ${MARK(instance)} -j `));
  const chains = jumps.map(chainOf);
  return [...jumps, ...lines.filter((line) => chains.some((chain) => line.startsWith(`-A ${chain} `)))];
}

function chainOf(jump: string): string {
  return jump.slice(jump.lastIndexOf(' ') + 1);
}
