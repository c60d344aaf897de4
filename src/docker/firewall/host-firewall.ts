import { Logger } from '@nestjs/common';
import { Mutex } from 'async-mutex';
import { readFile } from 'node:fs/promises';
import { type Config, ConfigError, ipv4Networks } from '../../config';
import { type EngineCapabilities, EngineError } from '../container-engine';
import {
  type FirewallRules,
  ipv4Rules,
  ipv6Rules,
  planFirewall,
  readNameServers,
  type SandboxBridge,
} from './firewall-rules';
import { Iptables, IptablesError, type PacketFilter } from './iptables';

type FirewallSettings = Pick<
  Config,
  'SANDBOX_FIREWALL' | 'SANDBOX_BLOCKED_NETWORKS' | 'SANDBOX_ALLOWED_SERVICES' | 'SANDBOX_DNS'
>;

/** The firewall's access to the host. */
export interface HostNetwork {
  readonly ipv4: PacketFilter;
  readonly ipv6: PacketFilter;
  /** The text of a kernel file, null if it does not exist. */
  readonly read: (file: string) => Promise<string | null>;
  readonly nameServers: () => Promise<string[]>;
}

const THIS_HOST: HostNetwork = {
  ipv4: new Iptables('iptables'),
  ipv6: new Iptables('ip6tables'),
  read: (file) => readFile(file, 'utf8').catch(() => null),
  nameServers: () => readNameServers(),
};

/**
 * Of this process's own network namespace, unlike `/sys/class/net`, which belongs to the namespace of whoever mounted
 * it.
 */
const INTERFACES = '/proc/net/dev';
const IPV6_ADDRESSES = '/proc/net/if_inet6';
/** Without it the kernel forwards traffic between containers on one bridge past all filters. */
const BRIDGE_FILTERING = '/proc/sys/net/bridge/bridge-nf-call-iptables';

const TRIES = 3;

const ADVICE = 'see "The host firewall" in docs/security.md for the rules and how to set them by hand';

/**
 * Blocks sandboxes from their host and its link-local addresses, by rules for their bridges. Idempotent, and safe in any
 * number of processes at once.
 */
export class HostFirewall {
  private readonly logger = new Logger(HostFirewall.name);
  private readonly changing = new Mutex();
  private found: EngineCapabilities['hostFirewall'] | null = null;

  constructor(
    private readonly settings: FirewallSettings,
    private readonly host: HostNetwork = THIS_HOST,
  ) {}

  /** The state that {@link prepare} found, or the last check since. */
  get state(): EngineCapabilities['hostFirewall'] {
    return this.found ?? 'unsupported';
  }

  /** Installs the rules. @throws ConfigError if they are required and cannot be installed */
  async prepare(networks: readonly SandboxBridge[]): Promise<void> {
    const reason = await this.check(networks);
    if (reason === null) return;
    if (this.settings.SANDBOX_FIREWALL === 'required')
      throw new ConfigError(`SANDBOX_FIREWALL=required, but ${reason}; ${ADVICE}`);
    this.logger.warn(`sandboxes can reach this machine's own services and its metadata address: ${reason}; ${ADVICE}`);
  }

  /** Restores missing rules; logs each change once, and never throws. */
  async maintain(networks: readonly SandboxBridge[]): Promise<void> {
    const before = this.found;
    const reason = await this.check(networks);
    if (this.found === before) return;
    if (reason === null) this.logger.log('the host firewall keeps sandboxes from this machine again');
    else this.logger.error(`the host firewall is gone, and sandboxes can reach this machine: ${reason}; ${ADVICE}`);
  }

  /** The same before a sandbox starts. @throws EngineError `docker_error` if the rules are required and missing */
  async secure(networks: readonly SandboxBridge[]): Promise<void> {
    await this.maintain(networks);
    if (this.isSecure) return;
    throw new EngineError('docker_error', 'the host firewall is required, and its rules are not there');
  }

  /** Whether a sandbox may start, as of the last check. */
  get isSecure(): boolean {
    return this.settings.SANDBOX_FIREWALL !== 'required' || this.state === 'enforced';
  }

  /** @returns why the rules of one of them cannot be installed, or null */
  private async check(networks: readonly SandboxBridge[]): Promise<string | null> {
    if (this.settings.SANDBOX_FIREWALL === 'off') {
      this.found = 'off';
      return null;
    }
    return this.changing.runExclusive(async () => {
      let reason: string | null = null;
      for (const network of networks) reason ??= await this.enforce(network);
      this.found = reason === null ? 'enforced' : 'unsupported';
      return reason;
    });
  }

  private async enforce(network: SandboxBridge): Promise<string | null> {
    const interfaces = interfacesIn((await this.host.read(INTERFACES)) ?? '');
    if (!interfaces.has(network.bridge)) {
      return `the bridge ${network.bridge} of Docker's network cannot be seen from here (Docker is remote or rootless, or Berth is in a container)`;
    }
    if ((await this.host.read(BRIDGE_FILTERING))?.trim() !== '1') {
      return 'the kernel does not filter what goes over bridges (sysctl net.bridge.bridge-nf-call-iptables is not 1)';
    }
    const reach = {
      blocked: ipv4Networks(this.settings.SANDBOX_BLOCKED_NETWORKS),
      allowed: this.settings.SANDBOX_ALLOWED_SERVICES,
      // Docker's own name server, which sandboxes without a shell use, asks the host's whatever the setting says.
      nameServers: [...new Set([...this.settings.SANDBOX_DNS, ...(await this.host.nameServers())])],
    };
    const hasIpv6 = (await this.host.read(IPV6_ADDRESSES)) !== null;
    try {
      await put(this.host.ipv4, { network, interfaces, wanted: ipv4Rules(network, reach) });
      if (hasIpv6) await put(this.host.ipv6, { network, interfaces, wanted: ipv6Rules(network) });
      return null;
    } catch (error) {
      if (error instanceof IptablesError) return error.message;
      throw error;
    }
  }
}

async function put(
  filter: PacketFilter,
  {
    network: { instance },
    interfaces,
    wanted,
  }: { network: SandboxBridge; interfaces: ReadonlySet<string>; wanted: FirewallRules },
): Promise<void> {
  const isInterface = (name: string): boolean => interfaces.has(name);
  for (let triesLeft = TRIES; triesLeft > 0; triesLeft -= 1) {
    const { needed, tidying } = planFirewall(await filter.rules(), { wanted, instance, isInterface });
    if (needed.length === 0) return tidy(filter, tidying);
    try {
      await filter.apply(needed);
    } catch (error) {
      if (triesLeft === 1) throw error;
    }
  }
}

/** Another process may be doing the same; the next check finds what remains. */
async function tidy(filter: PacketFilter, change: readonly string[]): Promise<void> {
  if (change.length === 0) return;
  try {
    await filter.apply(change);
  } catch (error) {
    if (!(error instanceof IptablesError)) throw error;
  }
}

/** @param text of `/proc/net/dev`: two lines of headings, then a line an interface */
function interfacesIn(text: string): ReadonlySet<string> {
  return new Set([...text.matchAll(/^\s*([^\s:|]+):/gm)].map(([, name = '']) => name));
}
