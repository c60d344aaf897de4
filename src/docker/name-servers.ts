import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';

const RESOLV_CONF = '/etc/resolv.conf';
/** Of systemd-resolved, whose own address (127.0.0.53) no container can reach. Docker reads this in its place. */
const BEHIND_RESOLVED = '/run/systemd/resolve/resolv.conf';

/** @returns the addresses of the name servers in a `resolv.conf` */
export function nameServersIn(text: string): string[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, address = '']) => address);
}

/**
 * The IPv4 name servers that Docker gives to containers, by its own rule. Those on loopback it asks from outside the
 * container, so they are not among them. What `dns` in Docker's `daemon.json` says cannot be asked for.
 */
export async function readNameServers(read = readText): Promise<string[]> {
  const configured = nameServersIn(await read(RESOLV_CONF));
  const isResolved = configured.length > 0 && configured.every((address) => address === '127.0.0.53');
  const used = isResolved ? nameServersIn(await read(BEHIND_RESOLVED)) : configured;
  return [...new Set(used)].filter((address) => isIPv4(address) && !address.startsWith('127.'));
}

/** Empty where there is no such file: then Docker asks public name servers. */
async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}
