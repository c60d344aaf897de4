import { DynamicModule, Module } from '@nestjs/common';
import ipaddr from 'ipaddr.js';
import { existsSync, readFileSync } from 'node:fs';
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { z } from 'zod';
import { Clock } from './scheduling/clock';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Parses a duration such as `500ms`, `30s`, `15m`, `50h`, `7d` or `0`.
 *
 * @returns milliseconds; null if it is not one
 */
export function parseDuration(text: string): number | null {
  if (text === '0') return 0;
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  const unit = UNITS[match?.[2] ?? ''];
  return match && unit !== undefined ? Number(match[1]) * unit : null;
}

/** Names that each stand for several networks. */
const NAMED: ReadonlyMap<string, readonly string[]> = new Map([
  ['loopback', ['127.0.0.0/8', '::1']],
  // RFC 1918, RFC 6598 (carrier-grade NAT), RFC 4193 (IPv6).
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7']],
]);

interface Network {
  readonly address: string;
  readonly prefix: number;
  readonly family: 'ipv4' | 'ipv6';
}

/**
 * Addresses and networks in the form of the settings: `10.0.0.0/8`, `192.0.2.7`, `2001:db8::/32`, `loopback`,
 * `private`.
 */
export class Networks {
  private readonly list = new BlockList();

  /** @throws Error if an entry does not satisfy {@link isNetwork} */
  constructor(networks: readonly string[]) {
    for (const { address, prefix, family } of networks.flatMap(parseAll)) this.list.addSubnet(address, prefix, family);
  }

  /**
   * Whether one of the networks contains the address; false if the text is not an address. An IPv4-mapped address
   * (`::ffff:10.0.0.1`) is matched as IPv4.
   */
  includes(address: string): boolean {
    if (isIPv4(address)) return this.list.check(address, 'ipv4');
    return isIPv6(address) && this.list.check(address, 'ipv6');
  }
}

/** Whether the text is an address, a network or a name that {@link Networks} accepts. */
export function isNetwork(text: string): boolean {
  return NAMED.has(text) || parse(text) !== null;
}

/** Whether the text is an IPv4 address with a port: `192.0.2.7:3128`. */
export function isService(text: string): boolean {
  const [address = '', port = '', ...more] = text.split(':');
  return more.length === 0 && isIPv4(address) && /^[1-9][0-9]{0,4}$/.test(port) && Number(port) <= 65_535;
}

/**
 * The IPv4 networks of a list in canonical form, each once: bits behind the prefix are cleared (`10.1.2.3/8` is
 * `10.0.0.0/8`). IPv6 networks are left out.
 *
 * @throws Error if an entry does not satisfy {@link isNetwork}
 */
export function ipv4Networks(networks: readonly string[]): string[] {
  const found = networks.flatMap(parseAll).filter(({ family }) => family === 'ipv4');
  return [...new Set(found.map(canonical))];
}

function canonical({ address, prefix }: Network): string {
  const first = ipaddr.IPv4.networkAddressFromCIDR(`${address}/${String(prefix)}`);
  return `${first.toString()}/${String(prefix)}`;
}

function parseAll(text: string): Network[] {
  return (NAMED.get(text) ?? [text]).map((each) => {
    const network = parse(each);
    if (!network) throw new Error(`${text} is no address and no network`);
    return network;
  });
}

function parse(text: string): Network | null {
  const [address = '', written, ...more] = text.split('/');
  const family = isIPv4(address) ? 'ipv4' : isIPv6(address) && !address.includes('%') ? 'ipv6' : null;
  if (!family || more.length > 0) return null;
  const longest = family === 'ipv4' ? 32 : 128;
  if (written === undefined) return { address, prefix: longest, family };
  const prefix = /^\d{1,3}$/.test(written) ? Number(written) : 0;
  // Prefix 0 is refused: as a trusted proxy, a network of all addresses would make every client's headers believed.
  return prefix >= 1 && prefix <= longest ? { address, prefix, family } : null;
}

const integer = (min: number, max: number) => z.coerce.number().int().min(min).max(max);

/** Overcommit factor: how many times the memory or CPUs of a machine may be promised to containers. */
const overcommit = z.coerce.number().min(0.1).max(1000);

const duration = z.string().transform((text, context) => {
  const milliseconds = parseDuration(text);
  if (milliseconds === null) {
    context.addIssue({ code: 'custom', message: 'expected a duration such as 30s, 15m, 50h or 7d' });
    return z.NEVER;
  }
  return milliseconds;
});

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
);

/** The host of a registry in lower case, with an optional port; the port `*` matches any. */
const REGISTRY = /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::(?:[0-9]{1,5}|\*))?$/;

const hostNames = list.refine(
  (items) => items.every((item) => /^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(item)),
  'expected names without ports such as berth.example.com or *.example.com, separated by commas',
);

const domainName = z
  .string()
  .toLowerCase()
  .regex(
    /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/,
    'expected a name without a port such as preview.example.net',
  );

/** A host, or a host and a port: `ssh.example.com`, `ssh.example.com:22`, `[2001:db8::1]:22`. */
const sshAddress = z.string().transform((text, context): { host: string; port: number | null } => {
  const [, host = '', port] = /^(\[[0-9a-f:]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(\d{1,5}))?$/i.exec(text) ?? [];
  const number = port === undefined ? null : Number(port);
  if (host !== '' && (number === null || (number > 0 && number <= 65_535))) {
    return { host: host.replace(/^\[|\]$/g, ''), port: number };
  }
  context.addIssue({
    code: 'custom',
    message: 'expected a host such as ssh.example.com, or with a port ssh.example.com:22',
  });
  return z.NEVER;
});

/** Durations by tier, such as `guest=30m,free=12h`. Not every tier needs one. */
const durationsByTier = z.string().transform((text, context): ReadonlyMap<string, number> => {
  const entries = text.split(',').map((item) => item.trim().split('='));
  const durations = new Map<string, number>();
  for (const [tier = '', written = '', ...more] of entries) {
    const milliseconds = parseDuration(written.trim());
    if (tier.trim() === '' || more.length > 0 || milliseconds === null || milliseconds === 0) {
      context.addIssue({ code: 'custom', message: 'expected tiers with durations such as guest=30m,free=12h' });
      return z.NEVER;
    }
    durations.set(tier.trim(), milliseconds);
  }
  return durations;
});

const networks = list.refine(
  (items) => items.every(isNetwork),
  'expected addresses, networks such as 10.0.0.0/8, loopback or private, separated by commas',
);

/** IPv4 networks that the subnets of sandbox networks are taken from. */
const pools = list
  .refine(
    (items) => items.every((item) => /^[\d.]+\/\d+$/.test(item) && isNetwork(item)),
    'expected IPv4 networks such as 10.200.0.0/16, separated by commas',
  )
  .transform(ipv4Networks);

/** The C libraries of most images (glibc, musl) query at most three name servers. */
const MOST_NAME_SERVERS = 3;

const nameServers = list.refine(
  (items) => items.length <= MOST_NAME_SERVERS && items.every((item) => isIPv4(item) && !item.startsWith('127.')),
  'expected at most three IPv4 addresses that are not on loopback such as 192.0.2.53, separated by commas',
);

const services = list.refine(
  (items) => items.every(isService),
  'expected IPv4 addresses with ports such as 192.0.2.7:3128, separated by commas',
);

const managers = list.refine(
  (items) =>
    items.length > 0 && items.every((item) => /^tcp:\/\/[^/:]+:\d{1,5}$|^tcp:\/\/\[[0-9a-f:]+\]:\d{1,5}$/.test(item)),
  'expected the managers of a Swarm such as tcp://10.0.0.1:2376,tcp://10.0.0.2:2376',
);

const registries = list.refine(
  (items) => items.every((item) => REGISTRY.test(item)),
  'expected hosts of registries such as docker.io, registry.example:5000 or registry.example:*, separated by commas',
);

/** The address of an OpenID provider. Its answers are trusted for the TLS that they come by. */
const issuer = z.string().refine((text) => {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isLocal = url !== null && (isBelowLocalhost(url.hostname) || url.hostname === '127.0.0.1');
  return url?.protocol === 'https:' || (url?.protocol === 'http:' && isLocal);
}, 'expected https://HOST of the OpenID provider; http:// only on this machine');

const hasOpenId = (scopes: string): boolean => scopes.split(' ').includes('openid');

const positiveDuration = duration.refine((milliseconds) => milliseconds > 0, 'expected more than nothing');

/** The pauses before the retries of a webhook's delivery, in milliseconds; the last one is repeated. */
const WEBHOOK_PAUSES_MS: readonly number[] = [1, 5, 30, 120, 600, 1800, 3600, 7200, 14_400].map((s) => s * 1000);

const pauses = list.transform((items, context): readonly number[] => {
  const parsed = items.map(parseDuration);
  const valid = parsed.filter((milliseconds) => milliseconds !== null && milliseconds > 0);
  if (valid.length > 0 && valid.length === items.length) return valid as number[];
  context.addIssue({ code: 'custom', message: 'expected durations such as 1s,5s,30s,2m, separated by commas' });
  return z.NEVER;
});

const databaseUrl = z
  .string()
  .regex(/^(sqlite:.+|postgres(ql)?:\/\/.+)$/, 'expected sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE');

/** Whether the name is below `localhost`, which browsers resolve to their own machine and trust without TLS. */
export function isBelowLocalhost(name: string): boolean {
  return name === 'localhost' || name.endsWith('.localhost');
}

/** Parses a key of 32 bytes: 64 hexadecimal digits, or base64 in either alphabet. @returns null if it is neither */
export function parseSecretsKey(text: string): Buffer | null {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(text) ? Buffer.from(text, 'base64') : null;
}

const secretsKey = z.string().transform((text, context) => {
  const key = parseSecretsKey(text);
  if (key) return key;
  context.addIssue({
    code: 'custom',
    message: 'expected 32 random bytes in base64, as "openssl rand -base64 32" prints',
  });
  return z.NEVER;
});

/**
 * Every setting, by the name of its environment variable. `.env.example` lists the same names; a test keeps them equal.
 */
export const environmentSchema = z.object({
  NODE_ENV: z.enum(['development', 'test', 'production']).default('development'),
  // `localhost` is two addresses on most machines, and each listener has one.
  HOST: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .transform((host) => (host === 'localhost' ? '127.0.0.1' : host)),
  PORT: integer(0, 65535).default(8080),
  DATABASE_URL: databaseUrl.default('sqlite:.berth/berth.sqlite'),
  SECRETS_KEY: secretsKey.optional(),
  SECRETS_KEY_PREVIOUS: secretsKey.optional(),
  REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\/.+$/, 'expected redis://HOST:PORT or rediss://HOST:PORT')
    .optional(),
  ENGINE: z.enum(['docker', 'simulated']).default('docker'),
  SIMULATION_SPEED: z.coerce.number().min(0.1).max(1_000_000).default(1),
  DOCKER_HOST: z
    .string()
    .regex(/^(unix:\/\/\/.+|tcp:\/\/.+|https?:\/\/.+)$/, 'expected unix:///PATH or tcp://HOST:PORT')
    .default('unix:///var/run/docker.sock'),
  CLUSTER: z.enum(['swarm']).optional(),
  CLUSTER_MANAGERS: managers.optional(),
  CLUSTER_CERT_PATH: z.string().min(1).optional(),
  SANDBOX_RUNTIME: z.enum(['runsc', 'runc', 'auto']).optional(),
  INSTANCE_ID: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'expected 1 to 63 of letters, digits, "_", "." and "-"')
    .optional(),
  STOP_GRACE_SECONDS: integer(0, 300).default(10),
  OPERATION_WAIT_SECONDS: integer(0, 600).default(15),
  OPERATION_CLAIM_SECONDS: integer(2, 600).default(30),
  SHUTDOWN_GRACE_SECONDS: integer(0, 600).default(30),
  SWEEP_INTERVAL_SECONDS: integer(1, 3600).default(60),
  ORPHAN_GRACE_SECONDS: integer(0, 86400).default(60),
  DOCKER_TIMEOUT_SECONDS: integer(1, 600).default(60),
  VOLUME_RETENTION: z.union([z.literal('forever').transform(() => null), duration]).default(7 * 24 * 3_600_000),
  SNAPSHOT_RETENTION: z.union([z.literal('forever').transform(() => null), duration]).default(30 * 24 * 3_600_000),
  EVENT_RETENTION: duration.default(7 * 24 * 3_600_000),
  AUDIT_RETENTION: duration.default(90 * 24 * 3_600_000),
  CONSOLE: z.enum(['on', 'off']).default('on'),
  GUEST_LOGIN: z.enum(['allow', 'deny']).default('allow'),
  GUEST_LIMIT: integer(0, 1_000_000).default(100),
  TOKEN_LIMIT: integer(0, 1_000_000).default(50),
  OIDC_ISSUER: issuer.optional(),
  OIDC_CLIENT_ID: z.string().min(1).optional(),
  OIDC_CLIENT_SECRET: z.string().min(1).optional(),
  OIDC_NAME: z.string().trim().min(1).max(40).default('OpenID Connect'),
  OIDC_SCOPES: z
    .string()
    .default('openid profile email')
    .refine(hasOpenId, 'expected openid and others, such as openid profile email'),
  OIDC_CLAIMS_FILE: z.string().min(1).optional(),
  OIDC_SESSION: positiveDuration.default(7 * 24 * 3_600_000),
  GUEST_SESSION: positiveDuration.optional(),
  GUEST_CONTAINER_RETENTION: z
    .union([z.literal('forever').transform(() => null), duration])
    .default(3 * 24 * 3_600_000),
  EXPIRY_WARNING: duration.default(10 * 60_000),
  DELETION_WARNING: duration.default(24 * 3_600_000),
  IDLE_STOP_AFTER: durationsByTier.default(new Map()),
  LIMIT_CHECK_SECONDS: integer(1, 3600).default(5),
  DISK_QUOTA: z.enum(['required', 'preferred', 'off']).default('preferred'),
  MEMORY_OVERCOMMIT: overcommit.default(2),
  CPU_OVERCOMMIT: overcommit.default(16),
  MEMORY_RESERVE_MB: integer(0, 10_000_000).default(256),
  DISK_RESERVE_MB: integer(0, 1_000_000_000).default(1024),
  SANDBOX_FIREWALL: z.enum(['required', 'preferred', 'off']).default('preferred'),
  NODE_FIREWALL_IMAGE: z.string().min(1).optional(),
  SANDBOX_BLOCKED_NETWORKS: networks.default([]),
  SANDBOX_PROOF: z.enum(['on', 'off']).default('on'),
  STATS_HISTORY: z.enum(['on', 'off']).default('on'),
  SUPERVISOR_CHANNELS: integer(1, 100_000).default(256),
  SUPERVISOR_FILE: z.string().min(1).default('packages/supervisor/build/supervisor'),
  WARM_POOL: z.string().min(1).default('auto'),
  WARM_POOL_MEMORY_MB: integer(0, 10_000_000).optional(),
  SANDBOX_DNS: nameServers.default([]),
  SANDBOX_ALLOWED_SERVICES: services.default([]),
  SANDBOX_NETWORK_SIZE: integer(1, 1000).default(900),
  SANDBOX_SUBNETS: pools.default([]),
  TIERS_FILE: z.string().min(1).optional(),
  IMAGES_FILE: z.string().min(1).optional(),
  IMAGE_RETENTION: z.union([z.literal('forever').transform(() => null), duration]).default(7 * 24 * 3_600_000),
  IMAGE_DISK_WATERMARK: integer(0, 99).default(85),
  CUSTOM_IMAGES: z.enum(['allow', 'deny']).default('allow'),
  CUSTOM_IMAGE_REGISTRIES: registries.default([]),
  REGISTRY_AUTH_FILE: z.string().min(1).optional(),
  ROLES_FILE: z.string().min(1).optional(),
  ROLE_INSTALL_TIMEOUT: positiveDuration.default(15 * 60_000),
  FILE_SIZE_LIMIT_MB: integer(1, 1_000_000).default(10_240),
  ARCHIVE_SIZE_LIMIT_MB: integer(1, 1_000_000).default(10_240),
  VOLUME_COPY_IMAGE: z.string().min(1).default('berth/sandbox:latest'),
  AGENT_HEARTBEAT_SECONDS: integer(1, 600).default(15),
  AGENT_OFFLINE_SECONDS: integer(2, 3600).default(45),
  RATE_LIMIT_PER_MINUTE: integer(0, 1_000_000).default(600),
  RATE_LIMIT_PUBLIC_PER_MINUTE: integer(0, 1_000_000).default(1200),
  RATE_LIMIT_CREATES_PER_MINUTE: integer(0, 1_000_000).default(100),
  RATE_LIMIT_GUESTS_PER_HOUR: integer(0, 1_000_000).default(20),
  RATE_LIMIT_REFUSALS_PER_MINUTE: integer(0, 1_000_000).default(60),
  CONNECTION_LIMIT: integer(0, 1_000_000).default(500),
  WEBHOOK_ALLOWED_NETWORKS: networks.default([]),
  WEBHOOK_RETRIES: pauses.default(WEBHOOK_PAUSES_MS),
  WEBHOOK_RETRY_FOR: positiveDuration.default(3 * 24 * 3_600_000),
  PREVIEW_PORT: z.union([z.literal('off'), integer(0, 65535)]).default('off'),
  PREVIEW_DOMAIN: domainName.default('preview.localhost'),
  PREVIEW_RESUMES: z.enum(['on', 'off']).default('on'),
  E2B_PUBLIC_PORTS: z.enum(['on', 'off']).default('off'),
  SSH_PORT: z.union([z.literal('off'), integer(0, 65535)]).default('off'),
  SSH_ADDRESS: sshAddress.optional(),
  SSH_HOST_KEY_FILE: z.string().min(1).optional(),
  TRUSTED_PROXIES: networks.default([]),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  ALLOWED_HOSTS: hostNames.default([]),
  CORS_ORIGINS: list.default([]),
  OTEL_EXPORTER_OTLP_ENDPOINT: z
    .string()
    .regex(/^https?:\/\/.+$/, 'expected http://HOST:PORT or https://HOST:PORT')
    .optional(),
});

const consistentSchema = environmentSchema
  .refine((settings) => settings.CLUSTER === undefined || settings.CLUSTER_MANAGERS !== undefined, {
    path: ['CLUSTER_MANAGERS'],
    message: 'is needed with CLUSTER: the managers of the Swarm, such as tcp://10.0.0.1:2376',
  })
  .refine((settings) => settings.CLUSTER === undefined || settings.CLUSTER_CERT_PATH !== undefined, {
    path: ['CLUSTER_CERT_PATH'],
    message: 'is needed with CLUSTER: the folder with ca.pem, cert.pem and key.pem',
  })
  .refine((settings) => settings.AGENT_OFFLINE_SECONDS > settings.AGENT_HEARTBEAT_SECONDS, {
    path: ['AGENT_OFFLINE_SECONDS'],
    message: 'expected more than AGENT_HEARTBEAT_SECONDS, or agents would be offline between two signs of life',
  });

/** The console is the way back from an OpenID provider. */
const signInSchema = consistentSchema
  .refine(({ OIDC_ISSUER, OIDC_CLIENT_ID }) => OIDC_ISSUER === undefined || OIDC_CLIENT_ID !== undefined, {
    path: ['OIDC_CLIENT_ID'],
    message: 'is needed with OIDC_ISSUER: the client id that the OpenID provider gave Berth',
  })
  .refine(({ OIDC_ISSUER, OIDC_CLIENT_ID }) => OIDC_CLIENT_ID === undefined || OIDC_ISSUER !== undefined, {
    path: ['OIDC_ISSUER'],
    message: 'is needed with OIDC_CLIENT_ID: the address of the OpenID provider, such as https://login.example.com',
  })
  .refine(({ OIDC_ISSUER, CONSOLE }) => OIDC_ISSUER === undefined || CONSOLE === 'on', {
    path: ['CONSOLE'],
    message: 'is needed with OIDC_ISSUER: set CONSOLE to on',
  });

/** Simulated containers are in the memory of one process, so ENGINE=simulated needs SQLite and excludes CLUSTER. */
const simulatedSchema = signInSchema
  .refine(({ ENGINE, DATABASE_URL }) => ENGINE !== 'simulated' || DATABASE_URL.startsWith('sqlite:'), {
    path: ['ENGINE'],
    message: 'simulated containers are in the memory of one process, so DATABASE_URL must be SQLite',
  })
  .refine(({ ENGINE, CLUSTER }) => ENGINE !== 'simulated' || CLUSTER === undefined, {
    path: ['CLUSTER'],
    message: 'the nodes of a Swarm run no simulated containers: leave out CLUSTER, or --simulate and ENGINE=simulated',
  });

type Environment = z.output<typeof environmentSchema>;

/**
 * The settings as the code uses them: durations in milliseconds (names with a unit, such as `_SECONDS`, keep it), and
 * SANDBOX_RUNTIME with its default.
 */
export type Config = Readonly<Omit<Environment, 'SANDBOX_RUNTIME'> & { SANDBOX_RUNTIME: 'runsc' | 'runc' | 'auto' }>;

/** Injection token of the validated {@link Config}. */
export const CONFIG = Symbol('CONFIG');

/** Invalid settings. `message` lists every fault, one per line, and what to do about it. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** A configuration file of the operator, and the setting that names it. */
interface ConfigFile {
  readonly setting: 'TIERS_FILE' | 'ROLES_FILE' | 'IMAGES_FILE' | 'WARM_POOL' | 'OIDC_CLAIMS_FILE';
  readonly file: string;
}

/** @throws ConfigError if the file cannot be read as JSON */
export function readJson({ setting, file }: ConfigFile): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`${setting}: ${file} cannot be read as JSON: ${reason}`);
  }
}

/**
 * Validates the contents of a configuration file.
 *
 * @param what names the contents in the message, such as `roles`
 * @throws ConfigError that lists every fault and names the file
 */
export function validate<T>(
  schema: z.ZodType<T>,
  json: unknown,
  { setting, file, what }: ConfigFile & { what: string },
): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `  ${issue.path.join('.') || 'file'}: ${issue.message}`);
  throw new ConfigError(`${setting}: the ${what} in ${file} are not valid:\n${faults.join('\n')}`);
}

/**
 * Validates the environment as a whole.
 *
 * @throws ConfigError that lists every fault at once
 */
export function parseConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const known = Object.fromEntries(
    Object.keys(environmentSchema.shape).map((name) => [
      name,
      environment[name] === '' ? undefined : environment[name],
    ]),
  );
  const parsed = simulatedSchema.safeParse(known);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
    throw new ConfigError(`the configuration is not valid:\n${faults.join('\n')}\nSee .env.example for every setting.`);
  }
  const production = parsed.data.NODE_ENV === 'production';
  const runtime = parsed.data.SANDBOX_RUNTIME ?? (production ? 'runsc' : 'auto');
  const faults = production ? insecureInProduction({ ...parsed.data, SANDBOX_RUNTIME: runtime }) : [];
  if (faults.length > 0) throw new ConfigError(`refused with NODE_ENV=production:\n${faults.join('\n')}`);
  return { ...parsed.data, SANDBOX_RUNTIME: runtime };
}

/** Faults of settings that suit a developer's machine and must not reach production unnoticed. */
function insecureInProduction(config: Config): string[] {
  const faults: string[] = [];
  if (config.ENGINE === 'simulated') {
    faults.push('  ENGINE: simulated has no containers, only their looks; choose docker');
  }
  if (config.SANDBOX_RUNTIME === 'auto') {
    faults.push('  SANDBOX_RUNTIME: auto may run sandboxes without gVisor; choose runsc (or runc, by name)');
  }
  if (config.SECRETS_KEY === undefined) {
    faults.push(
      '  SECRETS_KEY: is needed to encrypt what users put into env; set it to what "openssl rand -base64 32" prints, and ' +
        'keep a copy with, but not in, the backups of the database',
    );
  }
  if (config.CORS_ORIGINS.includes('*')) {
    faults.push('  CORS_ORIGINS: * lets every web site call the API; list the origins');
  }
  return faults;
}

/**
 * Loads `.env` from the working directory if it exists (variables that are set already win), then validates.
 *
 * @throws ConfigError that lists every fault
 */
export function loadConfig(): Config {
  loadEnvFile();
  return parseConfig(process.env);
}

/** Loads `.env` from the working directory into the environment, without overriding variables that are set. */
export function loadEnvFile(): void {
  if (existsSync('.env')) process.loadEnvFile('.env');
}

/** Provides the validated settings by the token {@link CONFIG}, and the {@link Clock}. */
@Module({})
export class ConfigModule {
  static forRoot(config: Config): DynamicModule {
    return {
      module: ConfigModule,
      global: true,
      providers: [{ provide: CONFIG, useValue: config }, Clock],
      exports: [CONFIG, Clock],
    };
  }
}
