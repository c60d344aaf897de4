import type { EnginePrograms } from '../port/engine-programs';
import type { ListeningPort } from '../port/engine-ports';

/** The kernel's tables of TCP sockets, those of IPv6 second. A kernel without IPv6 has only the first. */
const COMMAND = ['cat', '/proc/net/tcp', '/proc/net/tcp6'] as const;
const TIMEOUT_MS = 15_000;
/** A line has 150 characters: room for thousands of sockets. */
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;

/** A socket's line: its number, its address and port, the peer, and the state; `0A` means that it listens. */
const LISTENING = /^\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /gm;

/** The ports that are listed, the lowest first, and the addresses of each: programs may open any number. */
const MOST = { ports: 256, addresses: 8 } as const;

/** More than a line of the tables has. */
const LONGEST_LINE = 512;

/** Implements {@link EnginePorts.listening} by the container's own tables. */
export async function readListeningPorts(
  programs: Pick<EnginePrograms, 'run'>,
  dockerId: string,
): Promise<ListeningPort[]> {
  const tables = new ListeningTables();
  await programs.run(dockerId, {
    command: COMMAND,
    timeoutMs: TIMEOUT_MS,
    maxOutputBytes: MAX_OUTPUT_BYTES,
    onOutput: ({ stream, data }) => {
      if (stream === 'stdout') tables.take(data.toString('latin1'));
    },
  });
  return tables.ports();
}

/** Reads the text of `/proc/net/tcp{,6}` in pieces, and keeps no more than what is listed. */
export class ListeningTables {
  private readonly addresses = new Map<number, Set<string>>();
  private rest = '';

  take(piece: string): void {
    const text = this.rest + piece;
    const end = text.lastIndexOf('\n') + 1;
    for (const [, address = '', hex = ''] of text.slice(0, end).matchAll(LISTENING)) {
      const found = this.addresses.get(parseInt(hex, 16)) ?? new Set();
      if (found.size < MOST.addresses) found.add(addressOf(address));
      this.addresses.set(parseInt(hex, 16), found);
    }
    this.rest = text.slice(Math.max(end, text.length - LONGEST_LINE));
    if (this.addresses.size > 2 * MOST.ports) this.prune();
  }

  /** The listening ports in ascending order. */
  ports(): ListeningPort[] {
    this.prune();
    return this.inOrder().map((port) => ({ port, addresses: [...(this.addresses.get(port) ?? [])].sort() }));
  }

  private prune(): void {
    for (const port of this.inOrder().slice(MOST.ports)) this.addresses.delete(port);
  }

  private inOrder(): number[] {
    return [...this.addresses.keys()].sort((one, other) => one - other);
  }
}

/** Each 32 bits of an address are written as a number in the byte order of the machine: little-endian. */
function addressOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  for (let word = 0; word < bytes.length; word += 4) bytes.subarray(word, word + 4).reverse();
  if (bytes.length === 4) return bytes.join('.');
  const isMapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes.readUInt16BE(10) === 0xffff;
  if (isMapped) return bytes.subarray(12).join('.');
  const groups = Array.from({ length: 8 }, (_each, at) => bytes.readUInt16BE(2 * at).toString(16));
  // The longest run of zeros, as in RFC 5952: only `::` and `::1` are common.
  const zeros = /(?:^|:)0(?::0)+(?:$|:)/.exec(groups.join(':'))?.[0];
  return zeros === undefined ? groups.join(':') : groups.join(':').replace(zeros, '::');
}
