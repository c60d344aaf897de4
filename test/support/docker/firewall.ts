import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { listsChain } from '../../../src/docker/firewall/allow-rules';
import { Iptables, IptablesError } from '../../../src/docker/firewall/iptables';

const TABLES = { mangle: new Iptables('iptables'), raw: new Iptables('iptables', 'raw') } as const;
const FILTERS = [TABLES.mangle, TABLES.raw, new Iptables('ip6tables')];
const MARK = (instance: string): string => `berth:${instance}`;

/**
 * The rules of an instance's sandboxes on this machine, IPv4 and IPv6, without allow lists: jumps into its chains,
 * and the rules in them.
 */
export async function firewallRulesOf(instance: string): Promise<string[]> {
  const all = await Promise.all(FILTERS.map(async (filter) => rulesIn(await filter.rules(), instance)));
  return all.flat();
}

/** Removes the rules of an instance, as a flush of the firewall does. With `keepChains` the chains are only emptied. */
export async function removeFirewallRules(instance: string, { keepChains = false } = {}): Promise<void> {
  await removeTranslation(instance);
  for (const filter of FILTERS) {
    await agreed(async () => {
      // Without iptables there are no rules.
      const rules = rulesIn(await filter.rules().catch(() => []), instance);
      const marked = rules.filter((rule) => isMarked(rule, instance));
      const chains = [...chainsOf(marked), ...(await listChainsOf(instance, filter))];
      const removal = [
        ...chains.map((chain) => `-F ${chain}`),
        ...(keepChains ? [] : chains.map((chain) => `-X ${chain}`)),
      ];
      if (marked.length + chains.length > 0)
        await filter.apply([...marked.map((rule) => rule.replace('-A', '-D')), ...removal]);
    });
  }
}

/** Docker's answer about a container. */
interface Inspected {
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, { readonly NetworkID: string }>> };
}

/**
 * Lets packets through between the networks of two sandboxes, as Docker does for a moment while it makes a network.
 *
 * @param engineIds of the sandboxes @returns takes it back
 */
export async function joinNetworks(
  real: { inspect(engineId: string): Promise<Inspected> },
  engineIds: readonly [string, string],
): Promise<() => Promise<void>> {
  const bridgeOf = async (engineId: string): Promise<string> => {
    const { NetworkSettings } = await real.inspect(engineId);
    return `br-${(Object.values(NetworkSettings.Networks)[0]?.NetworkID ?? '').slice(0, 12)}`;
  };
  const [one, other] = [await bridgeOf(engineIds[0]), await bridgeOf(engineIds[1])];
  const rules = [
    ['FORWARD', '-i', one, '-o', other, '-j', 'ACCEPT'],
    ['FORWARD', '-i', other, '-o', one, '-j', 'ACCEPT'],
  ];
  const change = async (how: '-I' | '-D'): Promise<void> => {
    for (const rule of rules) await promisify(execFile)('iptables', ['-w', '5', how, ...rule]);
  };
  await change('-I');
  return () => change('-D');
}

/**
 * Reads the rules and changes them, again if iptables refuses: the end of another run's Docker removes the rules of
 * networks that are gone (`scripts/lib/sandbox-rules.mjs`), perhaps between the two.
 */
async function agreed(change: () => Promise<void>): Promise<void> {
  for (let triesLeft = 4; triesLeft > 0; triesLeft -= 1) {
    try {
      await change();
      return;
    } catch (error) {
      if (!(error instanceof IptablesError)) throw error;
    }
  }
  await change();
}

/** Removes the source NAT (`MASQUERADE`) of sandboxes on restricted networks. */
async function removeTranslation(instance: string): Promise<void> {
  const filter = new Iptables('iptables', 'nat');
  await agreed(async () => {
    const rules = (await filter.rules().catch(() => [])).filter((line) =>
      line.replaceAll('"', '').endsWith(` ${MARK(instance)} -j MASQUERADE`),
    );
    if (rules.length > 0) await filter.apply(rules.map((rule) => rule.replace('-A', '-D')));
  });
}

/** The rules of allow lists in a table, of all sandboxes of an instance. */
export async function listRulesOf(instance: string, table: keyof typeof TABLES): Promise<string[]> {
  const chains = await listChainsOf(instance, TABLES[table]);
  const rules = await TABLES[table].rules();
  return rules.filter((rule) => chains.some((chain) => rule.startsWith(`-A ${chain} `)));
}

/** Empties all chains of an instance in a table, or only those of allow lists, as `iptables -F CHAIN` does. */
export async function emptyChains(
  instance: string,
  { table, onlyLists = false }: { table: keyof typeof TABLES; onlyLists?: boolean },
): Promise<void> {
  const filter = TABLES[table];
  const marked = (await filter.rules()).filter((line) => isMarked(line, instance));
  const chains = [...(await listChainsOf(instance, filter)), ...(onlyLists ? [] : chainsOf(marked))];
  await filter.apply(chains.map((chain) => `-F ${chain}`));
}

async function listChainsOf(instance: string, filter: Iptables): Promise<string[]> {
  const prefix = listsChain(instance).replace(/allow$/, '');
  const rules = await filter.rules().catch(() => []);
  return rules.filter((line) => line.startsWith(`-N ${prefix}`)).map((line) => line.slice(3));
}

function rulesIn(lines: readonly string[], instance: string): string[] {
  const marked = lines.filter((line) => isMarked(line, instance));
  const chains = chainsOf(marked);
  return [...marked, ...lines.filter((line) => chains.some((chain) => line.startsWith(`-A ${chain} `)))];
}

function isMarked(line: string, instance: string): boolean {
  return line.replaceAll('"', '').includes(` ${MARK(instance)} -j `);
}

/** The chains that belong to one network each; all instances share `BERTH-BRIDGES`. */
function chainsOf(marked: readonly string[]): string[] {
  const jumps = marked.filter((rule) => rule.startsWith('-A PREROUTING '));
  return [...new Set(jumps.map((jump) => jump.slice(jump.lastIndexOf(' ') + 1)))];
}
