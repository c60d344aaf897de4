import ipaddr from 'ipaddr.js';
import { type NetworkPolicy, numberOf } from '../network-policy';
import { E2bError } from './e2b-error';
import type { SandboxPortSettings } from './sandbox-access';

/** An IPv4 network: its first address as a number, and the length of its prefix. */
interface Network {
  readonly first: number;
  readonly prefix: number;
}

const ALL: Network = { first: 0, prefix: 0 };

/** Addresses and networks of one list, and entries of the allow list that it becomes. */
const MOST_ENTRIES = 32;

/**
 * The network policy of E2B's settings: all that is not denied, and what is allowed in any case.
 *
 * @returns undefined for the tier's default
 * @throws E2bError for rules that Berth cannot enforce
 */
export function networkOf(asked: Readonly<Record<string, unknown>>): NetworkPolicy | undefined {
  for (const field of ['rules', 'egressProxy', 'httpsPorts']) {
    if (asked[field] != null) {
      throw new E2bError(400, 'is not available: use a proxy in the sandbox', `network.${field}`);
    }
  }
  const { allow_internet_access: internet } = asked;
  const allowed = networksIn(asked['allowOut'], 'network.allowOut');
  const denied = [...networksIn(asked['denyOut'], 'network.denyOut'), ...(internet === false ? [ALL] : [])];
  if (denied.length === 0) return internet === true || allowed.length > 0 ? 'internet' : undefined;
  if (allowed.some(({ prefix }) => prefix === 0)) return 'internet';
  const allow = [...othersThan(denied), ...allowed].map(textOf);
  if (allow.length === 0) return 'none';
  if (allow.length > MOST_ENTRIES) {
    const words = `takes more than ${String(MOST_ENTRIES)} rules: deny all traffic, and allow addresses`;
    throw new E2bError(400, words, 'network.denyOut');
  }
  return { allow };
}

/**
 * How the ports of a sandbox are seen.
 *
 * @param isPublicByDefault where the request does not say
 * @throws E2bError
 */
export function portsOf(asked: Readonly<Record<string, unknown>>, isPublicByDefault: boolean): SandboxPortSettings {
  const { allowPublicTraffic = isPublicByDefault, maskRequestHost: host } = asked;
  const isHost = host == null || (typeof host === 'string' && /^[\w.:${}[\]-]{1,255}$/.test(host));
  if (!isHost) throw new E2bError(400, 'must be a host name', 'network.maskRequestHost');
  return { isPublic: allowPublicTraffic === true, requestHost: host ?? null };
}

/** @throws E2bError for what is not a list of IPv4 addresses and networks */
function networksIn(value: unknown, field: string): Network[] {
  const list: readonly unknown[] = value === undefined ? [] : [value].flat();
  if (list.length > MOST_ENTRIES) throw new E2bError(400, `must have at most ${String(MOST_ENTRIES)} entries`, field);
  return list.map((entry) => {
    const text = String(entry);
    const cidr = text.includes('/') ? text : `${text}/32`;
    if (!/^\d+(\.\d+){3}\/\d+$/.test(cidr) || !ipaddr.IPv4.isValidCIDR(cidr)) {
      throw new E2bError(400, 'must have IPv4 addresses and networks: names are not available', field);
    }
    const [address, prefix] = ipaddr.IPv4.parseCIDR(cidr);
    return { first: partOf(numberOf(address), prefix), prefix };
  });
}

/** The fewest networks with all addresses but those of the given networks. */
function othersThan(denied: readonly Network[], within: Network = ALL): Network[] {
  const inside = denied.filter((each) => contains(each, within) || contains(within, each));
  if (inside.length === 0) return [within];
  if (inside.some((each) => contains(each, within))) return [];
  const prefix = within.prefix + 1;
  const half = { first: within.first, prefix };
  return [half, { first: within.first + 2 ** (32 - prefix), prefix }].flatMap((each) => othersThan(inside, each));
}

function contains(outer: Network, inner: Network): boolean {
  return outer.prefix <= inner.prefix && partOf(inner.first, outer.prefix) === outer.first;
}

/** The first address of the network of a prefix that an address is in. */
function partOf(address: number, prefix: number): number {
  const size = 2 ** (32 - prefix);
  return address - (address % size);
}

function textOf({ first, prefix }: Network): string {
  const octets = [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256);
  return `${octets.join('.')}/${String(prefix)}:*`;
}
