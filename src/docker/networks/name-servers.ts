import type Docker from 'dockerode';
import type { Config } from '../../config';
import { LruMap } from '../../scheduling';
import { NAME_SERVERS_FILE, readNameServers } from '../../engine';
import { abortable } from '../connection/client';
import { packed } from '../connection/streams';

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
    await container.putArchive(await nameServersArchive(servers), abortable(signal, { path: '/' }));
    this.note(container.id, servers);
  }
}

/** A tar archive for the container's root, with the file of name servers. */
export function nameServersArchive(servers: readonly string[]): Promise<Buffer> {
  const content = servers.map((server) => `${server}\n`).join('');
  return packed([{ name: NAME_SERVERS_FILE, mode: 0o644, content }]);
}
