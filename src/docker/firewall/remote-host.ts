import { readNameServers } from '../../engine';
import { type HostNetwork, FILES_READ } from './host-firewall';
import { Iptables, type RunProgram } from './iptables';

/** Precedes each file in the helper's output; no file has such a line. */
const SEPARATOR = '---berth---';
const RESOLV_CONF = '/etc/resolv.conf';
const FILES = [...FILES_READ, RESOLV_CONF];

/** How long the files are cached, in milliseconds: one check reads them one after the other. */
const FRESH_MS = 1_000;

/** Prints each readable file, after a line with its name. */
const READ = `for file; do if [ -r "$file" ]; then echo '${SEPARATOR}'" $file"; cat "$file"; echo; fi; done`;

/**
 * The network of another machine, by programs that run on it.
 *
 * @param machine its name, for an operator
 * @param run runs a program in that machine's network namespace
 * @param ofThisHost the name servers of this machine, which sandboxes query unless a setting names others
 */
export function remoteHost(machine: string, run: RunProgram, ofThisHost = readNameServers): HostNetwork {
  let read: { at: number; files: Promise<ReadonlyMap<string, string>> } | null = null;
  // Each program takes a tenth of a second there, so all files are read at once.
  const files = (): Promise<ReadonlyMap<string, string>> => {
    if (read === null || performance.now() - read.at > FRESH_MS) {
      const reading = run('sh', ['-c', READ, 'sh', ...FILES]).then(filesIn);
      read = { at: performance.now(), files: reading };
      reading.catch(() => (read = null));
    }
    return read.files;
  };
  return {
    machine,
    ipv4: new Iptables('iptables', 'mangle', run),
    ipv6: new Iptables('ip6tables', 'mangle', run),
    raw: new Iptables('iptables', 'raw', run),
    nat: new Iptables('iptables', 'nat', run),
    read: async (file) => (await files()).get(file) ?? null,
    nameServers: async () => {
      const there = (await files()).get(RESOLV_CONF) ?? '';
      const ofThere = await readNameServers((file) => Promise.resolve(file === RESOLV_CONF ? there : ''));
      return [...new Set([...(await ofThisHost()), ...ofThere])];
    },
  };
}

function filesIn(text: string): ReadonlyMap<string, string> {
  const parts = text.split(`${SEPARATOR} `).slice(1);
  return new Map(
    parts.map((part) => {
      const end = part.indexOf('\n');
      return [part.slice(0, end), part.slice(end + 1)];
    }),
  );
}
