import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { once, setMaxListeners } from 'node:events';
import type { Server as NetServer } from 'node:net';
import { type Algorithms, type Connection, Server } from 'ssh2';
import { type ConnectionGroup, dependsOn, OpenConnections } from '../auth';
import { CONFIG, type Config } from '../config';
import { DomainError } from '../errors';
import { LOGGER, type Logger } from '../logging';
import { KeyedLimiter } from '../scheduling';
import { type HostKey, HostKeys } from './host-keys';
import { SshBounds, WaitingInputs } from './ssh-bounds';
import { SshForwards } from './ssh-forwards';
import { type LoggedIn, SshLogins } from './ssh-logins';
import { SshSessions } from './ssh-sessions';
import type { SshConnection } from './ssh-work';

/**
 * Modern algorithms alone, which OpenSSH has had since 7.3 (2016). chacha20-poly1305 is missing: clients would prefer
 * it, and it takes half as much CPU again as AES-GCM (Node.js 20: 0.8 s instead of 0.5 for 100 MB, both ends).
 * Compression is missing: it costs memory for each connection, and lets a client send bombs.
 */
const ALGORITHMS: Algorithms = {
  kex: [
    'curve25519-sha256',
    'curve25519-sha256@libssh.org',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
  ],
  serverHostKey: [
    'ssh-ed25519',
    'ecdsa-sha2-nistp256',
    'ecdsa-sha2-nistp384',
    'ecdsa-sha2-nistp521',
    'rsa-sha2-512',
    'rsa-sha2-256',
  ],
  cipher: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'aes128-ctr', 'aes256-ctr'],
  hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com'],
  compress: ['none'],
};

/** Connections of one user to this process, and channels of one connection. */
const MOST_OF_USER = 50;
const MOST_CHANNELS = 128;

/** A connection whose client does not answer ends after five minutes, as a terminal does that has no client. */
const KEEP_ALIVE = { everyMs: 30_000, times: 10 } as const;

/** How long a client may take to close its connection. */
const GOODBYE_MS = 1_000;

/** The SSH server: a listener of its own. Users log in with their keys; the user's name is that of the container. */
@Injectable()
export class SshServer implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly listener: NetServer;
  private protocol: Server | null = null;
  private readonly users = new KeyedLimiter(MOST_OF_USER);
  private readonly inputs = new WaitingInputs();
  private readonly open: ConnectionGroup;

  constructor(
    @Inject(CONFIG) private readonly config: Pick<Config, 'HOST' | 'SSH_PORT' | 'SSH_ADDRESS'>,
    private readonly hostKeys: HostKeys,
    private readonly logins: SshLogins,
    connections: OpenConnections,
    private readonly sessions: SshSessions,
    private readonly forwards: SshForwards,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.open = connections.group();
    this.listener = this.logins.createListener((socket) => this.protocol?.injectSocket(socket));
  }

  /** @throws if the port is taken, or the host key cannot be used */
  async onApplicationBootstrap(): Promise<void> {
    const { SSH_PORT: port, HOST: host } = this.config;
    if (port === 'off') return;
    const key = await this.hostKeys.get();
    this.protocol = new Server(
      {
        hostKeys: [key.privateKey],
        algorithms: ALGORITHMS,
        ident: 'Berth',
        keepaliveInterval: KEEP_ALIVE.everyMs,
        keepaliveCountMax: KEEP_ALIVE.times,
      },
      (connection) => this.begin(connection),
    );
    this.listener.listen(port, host);
    await once(this.listener, 'listening');
    this.logger.info({ port: this.port, host_key: `SHA256:${key.fingerprint}` }, 'SSH is served');
  }

  async onModuleDestroy(): Promise<void> {
    if (!this.listener.listening) return;
    const closed = once(this.listener, 'close');
    this.listener.close();
    this.logins.closeAll();
    this.open.close();
    await closed;
  }

  /** Where clients connect to, and the key that they pin. @throws DomainError `ssh_disabled` */
  async address(): Promise<{ host: string | null; port: number; key: HostKey }> {
    const { port } = this;
    if (port === null) throw new DomainError('ssh_disabled');
    const { host, port: outer } = this.config.SSH_ADDRESS ?? { host: null, port: null };
    return { host, port: outer ?? port, key: await this.hostKeys.get() };
  }

  private get port(): number | null {
    const address = this.listener.address();
    return typeof address === 'object' && address !== null ? address.port : null;
  }

  /** Called once the client has said that it speaks SSH. */
  private begin(connection: Connection): void {
    const bounds = new SshBounds(connection);
    // Faults of the protocol, a client that is gone, and one that answers no more.
    connection.on('error', () => bounds.socket.destroy());
    this.logins.serve(connection, bounds.socket, (client) => this.admit(connection, bounds, client));
  }

  /**
   * Serves a client that has logged in, until the user's key, suspension or tier ends it.
   *
   * @returns false if the user has too many connections
   */
  private admit(connection: Connection, bounds: SshBounds, { principal, container, address }: LoggedIn): boolean {
    const leave = this.users.take(principal.userId);
    if (!leave) return false;
    const { socket } = bounds;
    bounds.admit(principal.userId, this.inputs);
    const over = new AbortController();
    // One listener for each channel and each write that waits.
    setMaxListeners(0, over.signal);
    const end = (): void => {
      connection.end();
      setTimeout(() => socket.destroy(), GOODBYE_MS).unref();
    };
    const remove = this.open.add({ ...dependsOn(principal), end });
    socket.once('close', () => {
      remove();
      leave();
      over.abort(new DomainError('request_timeout', { code: 'client_gone' }));
    });
    this.serve(connection, { principal, container, address, bounds, over: over.signal });
    return true;
  }

  private serve(connection: Connection, client: SshConnection): void {
    let channels = 0;
    const enter = (): (() => void) | null => {
      if (channels >= MOST_CHANNELS) return null;
      channels += 1;
      let isLeft = false;
      return () => {
        if (!isLeft) channels -= 1;
        isLeft = true;
      };
    };
    connection.on('session', (accept, reject) => {
      const onEnd = enter();
      if (onEnd) this.sessions.serve(accept(), client, onEnd);
      else reject();
    });
    connection.on('tcpip', (accept, reject, info) => {
      const onEnd = enter();
      if (onEnd) void this.forwards.serve({ accept, reject }, info, { client, onEnd });
      else reject();
    });
    // `request` and `openssh.streamlocal` have no listeners: ssh2 refuses remote forwarding and sockets of Unix.
  }
}
