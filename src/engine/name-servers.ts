import { readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';

const RESOLV_CONF = '/etc/resolv.conf';
/** The name servers behind systemd-resolved, whose own address (127.0.0.53) no container can reach. */
const BEHIND_RESOLVED = '/run/systemd/resolve/resolv.conf';

/** @returns the addresses of the name servers in a `resolv.conf` */
export function nameServersIn(text: string): string[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, address = '']) => address);
}

/**
 * This host's IPv4 name servers that a container can reach, so none on loopback. Docker queries the same ones unless
 * its `daemon.json` names others.
 */
export async function readNameServers(read = readText): Promise<string[]> {
  const configured = reachable(nameServersIn(await read(RESOLV_CONF)));
  return configured.length > 0 ? configured : reachable(nameServersIn(await read(BEHIND_RESOLVED)));
}

function reachable(addresses: readonly string[]): string[] {
  return [...new Set(addresses)].filter((address) => isIPv4(address) && !address.startsWith('127.'));
}

/**
 * Reads a file; empty if it cannot be read. Synchronous, because the file is short and in the page cache: a read in
 * the thread pool takes up to 10 ms longer on a busy machine, and each creation would wait for it.
 */
function readText(file: string): Promise<string> {
  try {
    return Promise.resolve(readFileSync(file, 'utf8'));
  } catch {
    return Promise.resolve('');
  }
}
