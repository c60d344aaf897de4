import type Docker from 'dockerode';
import type { Config } from '../../config';
import { LruMap } from '../../scheduling';
import { NAME_SERVERS_FILE, readNameServers } from '../../engine';
import { abortable } from '../connection/client';

/** The C libraries of most images (glibc, musl) query at most three name servers. */
const MOST_SERVERS = 3;

/** Maximum containers whose name servers are remembered; a forgotten one costs a call at its next start. */
const MOST_CONTAINERS = 10_000;

/** Chooses the name servers of sandboxes, and updates those of stopped containers. */
export class NameServers {
  /** The name servers of each container's next run, as far as this process knows. */
  private readonly given = new LruMap<string>(MOST_CONTAINERS);

  constructor(
    private readonly settings: Pick<Config, 'SANDBOX_DNS'>,
    private readonly ofHost: () => Promise<string[]> = readNameServers,
  ) {}

  /** @returns SANDBOX_DNS, or else this host's current name servers; none if the host has none but on loopback */
  async current(): Promise<string[]> {
    const { SANDBOX_DNS } = this.settings;
    return (SANDBOX_DNS.length > 0 ? SANDBOX_DNS : await this.ofHost()).slice(0, MOST_SERVERS);
  }

  /** Remembers that the container was created with these name servers. */
  note(engineId: string, servers: readonly string[]): void {
    this.given.set(engineId, servers.join(' '));
  }

  /**
   * Writes the current name servers into a stopped container for its main process to read, unless it has them. The
   * file that Docker mounts over `/etc/resolv.conf` cannot be written before the start.
   *
   * @throws Docker's refusal
   */
  async bring(container: Docker.Container, signal: AbortSignal): Promise<void> {
    const servers = await this.current();
    if (servers.length === 0 || this.given.get(container.id) === servers.join(' ')) return;
    await this.replace(container, servers, signal);
  }

  /**
   * Writes these name servers into a stopped container, also if there are none: the layer that became the image of a
   * new container may hold those of another machine.
   *
   * @throws Docker's refusal
   */
  async replace(container: Docker.Container, servers: readonly string[], signal: AbortSignal): Promise<void> {
    await container.putArchive(nameServersArchive(servers), abortable(signal, { path: '/' }));
    this.note(container.id, servers);
  }
}

const TAR_BLOCK = 512;

/** A tar archive for the container's root, with the file of name servers. */
export function nameServersArchive(servers: readonly string[]): Buffer {
  const content = Buffer.from(servers.map((server) => `${server}\n`).join(''));
  const body = Buffer.alloc(Math.ceil(content.length / TAR_BLOCK) * TAR_BLOCK);
  content.copy(body);
  return Buffer.concat([tarHeader(NAME_SERVERS_FILE, content.length), body, Buffer.alloc(2 * TAR_BLOCK)]);
}

/** The header (POSIX.1-1988, `ustar`) of a file that root owns and all may read. */
function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(TAR_BLOCK);
  const octal = (value: number, { at, digits }: { at: number; digits: number }): void => {
    header.write(value.toString(8).padStart(digits, '0'), at);
  };
  header.write(name);
  octal(0o644, { at: 100, digits: 7 });
  octal(0, { at: 108, digits: 7 });
  octal(0, { at: 116, digits: 7 });
  octal(size, { at: 124, digits: 11 });
  octal(0, { at: 136, digits: 11 });
  header.write('0', 156);
  header.write('ustar\0', 257);
  header.write('00', 263);
  // The checksum is computed over the header with blanks in the checksum's place.
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  octal(sum, { at: 148, digits: 6 });
  header[154] = 0;
  return header;
}
