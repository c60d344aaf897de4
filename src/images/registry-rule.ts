import { isIP } from 'node:net';

/**
 * Whether users' own images may come from a registry. Docker asks it from the machine itself, with that one's way into
 * private networks, and what the answer was can be told from the container's `status_reason`.
 *
 * @param registry the host, with its port if one is written, in lower case
 * @param allowed what the operator lists. Empty: every registry with a public-looking name. A name may still lead to a
 *   private address, or the registry there lead Docker on to one; only a list is sure.
 */
export function isAllowedRegistry(registry: string, allowed: readonly string[]): boolean {
  const host = registry.replace(/:[0-9]+$/, '');
  if (allowed.length > 0) return allowed.includes(registry) || allowed.includes(`${host}:*`);
  const labels = host.split('.');
  const last = labels.at(-1) ?? '';
  // Names of one label are of the machine's own domain; what ends in a number is an address, however it is written.
  const isAddress = isIP(host) !== 0 || host.startsWith('[') || /^(?:[0-9]+|0x[0-9a-f]*)$/.test(last);
  return labels.length > 1 && !isAddress && last !== 'localhost';
}
