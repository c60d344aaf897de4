import { Logger } from '@nestjs/common';
import { Mutex } from 'async-mutex';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { type Config, ConfigError, ipv4Networks } from '../../config';
import { type EngineCapabilities, EngineError, readNameServers } from '../../engine';
import { planLists, removalOf, type RestrictedSandbox, staleChains } from './allow-rules';
import {
  type FirewallRules,
  ipv4Rules,
  ipv6Rules,
  planFirewall,
  planIsolation,
  planTranslation,
  type SandboxBridge,
} from './firewall-rules';
import { Iptables, IptablesError, type PacketFilter } from './iptables';

type FirewallSettings = Pick<
  Config,
  'SANDBOX_FIREWALL' | 'SANDBOX_BLOCKED_NETWORKS' | 'SANDBOX_ALLOWED_SERVICES' | 'SANDBOX_DNS'
>;

export interface HostNetwork {
  /** The machine's name, for an operator. */
  readonly machine: string;
  readonly ipv4: PacketFilter;
  readonly ipv6: PacketFilter;
  /** The same as `ipv4`, in the table `raw`. */
  readonly raw: PacketFilter;
  /** The same, in the table `nat`. */
  readonly nat: PacketFilter;
  /** The text of a kernel file, null if it does not exist. */
  readonly read: (file: string) => Promise<string | null>;
  readonly nameServers: () => Promise<string[]>;
}

const THIS_HOST: HostNetwork = {
  machine: 'this machine',
  ipv4: new Iptables('iptables'),
  ipv6: new Iptables('ip6tables'),
  raw: new Iptables('iptables', 'raw'),
  nat: new Iptables('iptables', 'nat'),
  read: (file) => readFile(file, 'utf8').catch(() => null),
  nameServers: () => readNameServers(),
};

/**
 * The interfaces of this process's network namespace, unlike `/sys/class/net`, which shows the namespace that it was
 * mounted in.
 */
const INTERFACES = '/proc/net/dev';
const IPV6_ADDRESSES = '/proc/net/if_inet6';
/** If this is not 1, the kernel forwards traffic between containers on one bridge past all filters. */
const BRIDGE_FILTERING = '/proc/sys/net/bridge/bridge-nf-call-iptables';

/** All files that {@link HostNetwork.read} is called with. */
export const FILES_READ: readonly string[] = [INTERFACES, IPV6_ADDRESSES, BRIDGE_FILTERING];

const TRIES = 3;

/** All sandboxes of an instance that have an allow list. */
interface Restricted {
  readonly instance: string;
  readonly sandboxes: readonly RestrictedSandbox[];
}

const ADVICE = 'see "The host firewall" in docs/security.md for the rules and how to set them by hand';

/**
 * Blocks sandboxes from their host and its link-local addresses, by rules for their bridges. Idempotent, and safe in
 * any number of processes at once.
 */
export class HostFirewall {
  private readonly logger = new Logger(HostFirewall.name);
  private readonly changing = new Mutex();
  private found: EngineCapabilities['hostFirewall'] | null = null;
  /** Why the rules are not in force, as of the last check. */
  private fault: string | null = null;
  /** Why allow lists cannot be enforced; null if they are. */
  private listsFault: string | null = 'the host firewall is off';
  /** Addresses that are blocked in addition to SANDBOX_BLOCKED_NETWORKS. */
  private others: readonly string[] = [];
  /** Chains of sandboxes that were missing from the last complete list. */
  private staleChains: ReadonlySet<string> = new Set();

  constructor(
    private readonly settings: FirewallSettings,
    private readonly host: HostNetwork = THIS_HOST,
  ) {}

  /**
   * Replaces the addresses that are blocked in addition to SANDBOX_BLOCKED_NETWORKS: the other machines of a cluster.
   * The next check puts them in force.
   *
   * @param addresses in any order: they are sorted, so that processes with the same addresses write the same rules
   */
  blockAlso(addresses: readonly string[]): void {
    this.others = [...new Set(addresses)].filter((address) => isIP(address) !== 0).sort();
  }

  /** The state that {@link prepare} or the last check since has found. */
  get state(): EngineCapabilities['hostFirewall'] {
    return this.found ?? 'unsupported';
  }

  /** Whether the allow lists of sandboxes were in force at the last check, or could be if there were any. */
  get lists(): EngineCapabilities['allowLists'] {
    return this.listsFault === null ? 'enforced' : 'unsupported';
  }

  /** Installs the rules. @throws ConfigError if they are required and cannot be installed */
  async prepare(networks: readonly SandboxBridge[], restricted?: Restricted): Promise<void> {
    const reason = await this.check(networks, restricted);
    if (reason === null && this.listsFault !== null && this.state !== 'off')
      this.logger.warn(`no sandbox on ${this.host.machine} can have an allow list: ${this.listsFault}`);
    if (reason === null) return;
    if (this.settings.SANDBOX_FIREWALL === 'required')
      throw new ConfigError(`SANDBOX_FIREWALL=required, but ${reason}; ${ADVICE}`);
    this.logger.warn(
      `sandboxes can reach the services of ${this.host.machine} itself and its metadata address: ${reason}; ${ADVICE}`,
    );
  }

  /**
   * Restores missing rules, and logs each change once. Does not throw if iptables fails.
   *
   * @param restricted all sandboxes with an allow list; the rules of others are removed if they are there next time,
   *   too
   * @throws EngineError `docker_unavailable` on another machine whose Docker does not answer
   */
  async maintain(networks: readonly SandboxBridge[], restricted?: Restricted): Promise<void> {
    const before = this.found;
    const { lists } = this;
    const { machine } = this.host;
    const reason = await this.check(networks, restricted);
    // The first check is part of the preparation, which reports the result itself.
    if (before === null) return;
    if (this.found === before) {
      if (this.lists === lists) return;
      if (this.listsFault === null) this.logger.log(`allow lists hold the sandboxes of ${machine} again`);
      else
        this.logger.error(
          `allow lists may not hold the sandboxes of ${machine}, and none of these starts: ${this.listsFault}`,
        );
      return;
    }
    if (reason === null) this.logger.log(`the host firewall keeps sandboxes from ${machine} again`);
    else this.logger.error(`the host firewall is gone, and sandboxes can reach ${machine}: ${reason}; ${ADVICE}`);
  }

  /**
   * {@link maintain}, before a sandbox starts.
   *
   * @throws EngineError `docker_error` if the rules are required and missing, for a restricted network always
   */
  async secure(networks: readonly SandboxBridge[]): Promise<void> {
    await this.maintain(networks);
    if (this.listsFault !== null && networks.some(({ isRestricted }) => isRestricted))
      throw notEnforced(this.listsFault);
    if (this.isSecure) return;
    const why = this.fault === null ? '' : `: ${this.fault}`;
    throw new EngineError('docker_error', `the host firewall is required, and its rules are not there${why}`);
  }

  /** Puts the allow list of a sandbox in force, before it starts. @throws EngineError `docker_error` if that fails */
  async admit(instance: string, sandbox: RestrictedSandbox): Promise<void> {
    if (this.listsFault !== null) throw notEnforced(this.listsFault);
    const reason = await this.changing.runExclusive(() =>
      reasonOf(() => this.putLists({ instance, sandboxes: [sandbox] })),
    );
    if (reason !== null) throw notEnforced(reason);
  }

  /** Whether a sandbox may start, as of the last check. */
  get isSecure(): boolean {
    return this.settings.SANDBOX_FIREWALL !== 'required' || this.state === 'enforced';
  }

  /** @returns why the rules of a network that is not restricted cannot be installed; null if they are in force */
  private async check(networks: readonly SandboxBridge[], restricted?: Restricted): Promise<string | null> {
    if (this.settings.SANDBOX_FIREWALL === 'off') {
      this.found = 'off';
      return null;
    }
    return this.changing.runExclusive(async () => {
      let reason: string | null = null;
      const open = networks.filter(({ isRestricted }) => !isRestricted);
      for (const network of open) reason ??= await this.enforce(network);
      if (open.length > 0) this.found = reason === null ? 'enforced' : 'unsupported';
      this.fault = reason;
      this.listsFault = reason ?? (await this.enforceLists(networks, restricted));
      return reason;
    });
  }

  /** @returns why the allow lists cannot be enforced; null if they are, or could be if there were any */
  private async enforceLists(networks: readonly SandboxBridge[], restricted?: Restricted): Promise<string | null> {
    const bridges = networks.filter(({ isRestricted }) => isRestricted);
    const { instance = bridges[0]?.instance, sandboxes = [] } = restricted ?? {};
    let reason = await reasonOf(async () => {
      if (instance === undefined || bridges.length + sandboxes.length === 0) await this.host.raw.rules();
      else await this.putLists({ instance, sandboxes });
    });
    for (const network of bridges) reason ??= await this.enforce(network);
    if (restricted && bridges.length > 0) reason ??= await reasonOf(() => this.removeStrangers(restricted));
    return reason;
  }

  /** Also needed without sandboxes: a restricted network leads to the chain of their instance. */
  private async putLists(restricted: Restricted): Promise<void> {
    for (const filter of [this.host.ipv4, this.host.raw]) {
      await put(filter, (current) => planLists(current, restricted));
    }
  }

  /**
   * Removes a chain only once two checks in a row did not know its sandbox: another process may have admitted the
   * sandbox since the list was made.
   */
  private async removeStrangers(restricted: Restricted): Promise<void> {
    const found = new Set<string>();
    for (const filter of [this.host.ipv4, this.host.raw]) {
      const current = await filter.rules();
      const chains = staleChains(current, restricted);
      for (const chain of chains) found.add(chain);
      await tidy(
        filter,
        removalOf(
          current,
          chains.filter((chain) => this.staleChains.has(chain)),
        ),
      );
    }
    this.staleChains = found;
  }

  private enforce(network: SandboxBridge): Promise<string | null> {
    return reasonOf(() => this.putNetwork(network));
  }

  /** @throws IptablesError with the reason why the network's rules cannot be in force */
  private async putNetwork(network: SandboxBridge): Promise<void> {
    const { instance } = network;
    const interfaces = interfacesIn((await this.host.read(INTERFACES)) ?? '');
    if (!interfaces.has(network.bridge)) {
      throw new IptablesError(
        `the bridge ${network.bridge} of Docker's network cannot be seen from here (Docker is remote or rootless, or Berth is in a container)`,
      );
    }
    if ((await this.host.read(BRIDGE_FILTERING))?.trim() !== '1') {
      throw new IptablesError(
        'the kernel does not filter what goes over bridges (sysctl net.bridge.bridge-nf-call-iptables is not 1)',
      );
    }
    const reach = {
      blocked: [...new Set(ipv4Networks([...this.settings.SANDBOX_BLOCKED_NETWORKS, ...this.others]))],
      allowed: this.settings.SANDBOX_ALLOWED_SERVICES,
      // Docker's embedded name server, which sandboxes without a shell use, queries the host's regardless of
      // SANDBOX_DNS.
      nameServers: [...new Set([...this.settings.SANDBOX_DNS, ...(await this.host.nameServers())])],
    };
    const hasIpv6 = (await this.host.read(IPV6_ADDRESSES)) !== null;
    const isInterface = (name: string): boolean => interfaces.has(name);
    const putRules = async (filter: PacketFilter, wanted: FirewallRules): Promise<void> => {
      const plan = (current: readonly string[]): ReturnType<typeof planFirewall> => {
        const rules = planFirewall(current, { wanted, instance, isInterface });
        if (filter !== this.host.ipv4) return rules;
        const apart = planIsolation(current, { network, isInterface });
        return { needed: [...rules.needed, ...apart.needed], tidying: [...rules.tidying, ...apart.tidying] };
      };
      const current = await put(filter, (lines) => plan(lines).needed);
      if (current !== null) await tidy(filter, plan(current).tidying);
    };
    await putRules(this.host.ipv4, ipv4Rules(network, reach));
    if (network.isRestricted) await putRules(this.host.raw, ipv4Rules(network, reach, 'raw'));
    if (hasIpv6) await putRules(this.host.ipv6, ipv6Rules(network));
    // Last: without it, hosts beyond this machine cannot answer the sandboxes.
    if (network.isRestricted) await put(this.host.nat, (current) => planTranslation(current, { network, isInterface }));
  }
}

/** @returns the reason why iptables refuses; null if it does not. @throws all other errors */
async function reasonOf(change: () => Promise<void>): Promise<string | null> {
  try {
    await change();
    return null;
  } catch (error) {
    if (error instanceof IptablesError) return error.message;
    throw error;
  }
}

function notEnforced(reason: string): EngineError {
  return new EngineError('docker_error', `the host firewall does not enforce allow lists: ${reason}`);
}

/**
 * Applies a plan until it needs no change, in at most `TRIES` tries.
 *
 * @returns the table without need of a change; null if the last try still made one
 * @throws IptablesError if the last try fails
 */
async function put(
  filter: PacketFilter,
  plan: (current: readonly string[]) => readonly string[],
): Promise<readonly string[] | null> {
  for (let triesLeft = TRIES; triesLeft > 0; triesLeft -= 1) {
    const current = await filter.rules();
    const needed = plan(current);
    if (needed.length === 0) return current;
    try {
      await filter.apply(needed);
    } catch (error) {
      if (triesLeft === 1) throw error;
    }
  }
  return null;
}

/** Ignores a refusal: another process may be doing the same, and the next check finds what remains. */
async function tidy(filter: PacketFilter, change: readonly string[]): Promise<void> {
  if (change.length === 0) return;
  try {
    await filter.apply(change);
  } catch (error) {
    if (!(error instanceof IptablesError)) throw error;
  }
}

/** @param text of `/proc/net/dev`: two lines of headings, then one line per interface */
function interfacesIn(text: string): ReadonlySet<string> {
  return new Set([...text.matchAll(/^\s*([^\s:|]+):/gm)].map(([, name = '']) => name));
}
