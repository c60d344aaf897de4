import ipaddr from 'ipaddr.js';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';

/**
 * Policies without a list. `internet`: everything that the host forwards and the firewall allows. `none`: no network.
 */
const NETWORK_WORDS = ['internet', 'none'] as const;

/** Only these ports and the name servers are reachable: entries that {@link parseAllowed} accepts. */
interface AllowList {
  readonly allow: readonly string[];
}

/** What a container can reach. */
export type NetworkPolicy = (typeof NETWORK_WORDS)[number] | AllowList;

/** An entry of an allow list: one port, or all, of all addresses of an IPv4 network. */
export interface AllowedPort {
  /** The network's first address. */
  readonly address: string;
  /** The length of the network's prefix, in bits. */
  readonly prefix: number;
  /** null: all ports, and all protocols. */
  readonly port: number | null;
  readonly protocol: 'tcp' | 'udp' | null;
}

const MOST_ALLOWED = 32;

const OCTET = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
const PREFIX = '(3[0-2]|[0-2]?[0-9])';
const PORT = '(6553[0-5]|655[0-2][0-9]|65[0-4][0-9][0-9]|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})';
const ENTRY = new RegExp(`^(${OCTET}(?:\\.${OCTET}){3})(?:/${PREFIX})?:(?:${PORT}(?:/(tcp|udp))?|\\*)$`);
/** Maximum characters of an invalid entry that a message quotes. */
const LONGEST_ENTRY = 64;

const POLICY_RULE =
  `must be "internet", "none", or { "allow": [...] } with 1 to ${String(MOST_ALLOWED)} entries such as ` +
  '"203.0.113.0/24:8000", "198.51.100.7:53/udp" or "203.0.113.9:*"';

/** The OpenAPI schema of a {@link NetworkPolicy}. */
export const NETWORK_POLICY_SCHEMA = {
  title: 'NetworkPolicy',
  oneOf: [
    { type: 'string', enum: [...NETWORK_WORDS], example: 'internet' },
    {
      type: 'object',
      required: ['allow'],
      additionalProperties: false,
      properties: {
        allow: {
          type: 'array',
          minItems: 1,
          maxItems: MOST_ALLOWED,
          items: { type: 'string', pattern: ENTRY.source.replaceAll('\\/', '/'), example: '203.0.113.0/24:8000' },
          description: 'IPv4 addresses or networks with a port, or `*` for everything; append `/udp` for UDP.',
        },
      },
    },
  ],
};

/**
 * Parses an entry such as `203.0.113.0/24:8000/udp` or `203.0.113.9:*`.
 *
 * @returns a message about its fault if it is invalid
 */
export function parseAllowed(text: string): AllowedPort | string {
  const shown = JSON.stringify(text.slice(0, LONGEST_ENTRY));
  const [, address = '', length = '32', port = '', protocol = 'tcp'] = ENTRY.exec(text) ?? [];
  if (address === '') {
    return `${shown} is not an IPv4 address or network with a port, such as 203.0.113.0/24:8000, and /tcp or /udp`;
  }
  const first = ipaddr.IPv4.networkAddressFromCIDR(`${address}/${length}`).toString();
  // Not silently widened: a user who writes 10.1.2.3/8 may mean the single address.
  if (first !== ipaddr.IPv4.parse(address).toString()) {
    return `${shown} has bits after its prefix: use ${first}/${String(Number(length))} for the network`;
  }
  const target = { address: first, prefix: Number(length) };
  if (port === '') return { ...target, port: null, protocol: null };
  return { ...target, port: Number(port), protocol: protocol === 'udp' ? 'udp' : 'tcp' };
}

/** Checks a policy from outside. @returns a message about its fault; null if it is valid */
export function faultOfPolicy(value: unknown): string | null {
  if (NETWORK_WORDS.some((word) => word === value)) return null;
  if (typeof value !== 'object' || value === null || Object.keys(value).join() !== 'allow') return POLICY_RULE;
  const { allow } = value as { allow: unknown };
  if (!Array.isArray(allow) || allow.length === 0 || allow.length > MOST_ALLOWED) return POLICY_RULE;
  const entries: readonly unknown[] = allow;
  for (const entry of entries) {
    const parsed = typeof entry === 'string' ? parseAllowed(entry) : POLICY_RULE;
    if (typeof parsed === 'string') return parsed;
  }
  return null;
}

/** Reads a policy of the operator, in its canonical form. */
export const networkPolicy = z.unknown().transform((value, context): NetworkPolicy => {
  const fault = faultOfPolicy(value);
  if (fault === null) return canonicalPolicy(value as NetworkPolicy);
  context.addIssue({ code: 'custom', message: fault });
  return z.NEVER;
});

/** @returns the valid entries of a list, without duplicates and sorted */
export function allowedPorts(list: readonly string[]): AllowedPort[] {
  const ports = list.map(parseAllowed).filter((each) => typeof each !== 'string');
  return [...new Map(ports.map((each) => [textOf(each), each])).values()].sort((a, b) => order(a, b));
}

/**
 * The canonical form of a policy: entries sorted and without duplicates, with prefix, and with `/udp` where it
 * applies.
 */
export function canonicalPolicy(policy: NetworkPolicy): NetworkPolicy {
  return typeof policy === 'string' ? policy : { allow: allowedPorts(policy.allow).map(textOf) };
}

/** Compares canonical policies. */
export function isSamePolicy(a: NetworkPolicy, b: NetworkPolicy): boolean {
  return isDeepStrictEqual(a, b);
}

/** @returns a message if the policy allows more than the bound; null if it does not */
export function excessOf(policy: NetworkPolicy, bound: NetworkPolicy): string | null {
  if (bound === 'internet' || policy === 'none') return null;
  if (bound === 'none') return 'must be none';
  if (policy === 'internet') return `must be none, or a list within ${bound.allow.join(', ')}`;
  const bounds = allowedPorts(bound.allow);
  const over = allowedPorts(policy.allow).find((port) => !bounds.some((each) => covers(each, port)));
  return over ? `must stay within ${bound.allow.join(', ')}, which ${textOf(over)} does not` : null;
}

function covers(outer: AllowedPort, inner: AllowedPort): boolean {
  const isSamePort = outer.port === null || (outer.port === inner.port && outer.protocol === inner.protocol);
  const contains = (): boolean =>
    ipaddr.IPv4.parse(inner.address).match(ipaddr.IPv4.parse(outer.address), outer.prefix);
  return isSamePort && outer.prefix <= inner.prefix && contains();
}

function textOf({ address, prefix, port, protocol }: AllowedPort): string {
  if (port === null) return `${address}/${String(prefix)}:*`;
  return `${address}/${String(prefix)}:${String(port)}${protocol === 'udp' ? '/udp' : ''}`;
}

/** An address as a number of 32 bits. */
export function numberOf(address: ipaddr.IPv4): number {
  return address.octets.reduce((sum, octet) => sum * 256 + octet, 0);
}

function order(a: AllowedPort, b: AllowedPort): number {
  return (
    numberOf(ipaddr.IPv4.parse(a.address)) - numberOf(ipaddr.IPv4.parse(b.address)) ||
    a.prefix - b.prefix ||
    (a.port ?? 0) - (b.port ?? 0) ||
    String(a.protocol).localeCompare(String(b.protocol), 'en')
  );
}
