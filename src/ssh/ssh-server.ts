import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { once } from 'node:events';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { type Algorithms, type AuthContext, type Connection, Server } from 'ssh2';
import { holdsScope, type Principal } from '../auth';
import { CONFIG, type Config } from '../config';
import { DomainError } from '../errors';
import { addressKey, ClientAddress } from '../http';
import { LOGGER, type Logger } from '../logging';
import { SocketLimits } from '../rate-limits';
import { ExecAccess } from '../sandbox';
import { KeyedLimiter } from '../scheduling';
import { type HostKey, HostKeys } from './host-keys';
import { fingerprintOf, verifies } from './public-key';
import { SshForwards } from './ssh-forwards';
import { SshKeys } from './ssh-keys';
import { type LoginOutcome, SshMetrics } from './ssh-metrics';
import { SshSessions } from './ssh-sessions';
import type { SshVisit } from './ssh-visit';

/**
 * Modern algorithms alone, which OpenSSH has had since 7.3 (2016). chacha20-poly1305 is missing: clients would prefer
 * it, and without OpenSSL's help it takes several times the CPU of AES-GCM. Compression is missing: it costs memory
 * for each connection, and lets a client send bombs.
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

/** How long a client may take to log in, a person's passphrase for the key included. */
const LOGIN_MS = 30_000;
/** Connections that have not logged in. Beyond the first number, the oldest one is closed. */
const MOST_WAITING = { together: 200, ofAddress: 20 } as const;
/** Keys that a client may offer on one connection: agents offer all that they have. */
const MOST_KEYS_OFFERED = 20;

/** Connections of one user to this process, and channels of one connection. */
const MOST_OF_USER = 50;
const MOST_CHANNELS = 128;

/** Longer than any name or id of a container. */
const LONGEST_NAME = 128;

/** A connection whose client does not answer ends after five minutes, as a terminal does that has no client. */
const KEEP_ALIVE = { everyMs: 30_000, times: 10 } as const;

/** Answers that wait for a client that does not read them. Output itself waits in the container. */
const MOST_UNSENT = 32 * 1024 * 1024;

/** How long a client may take to close its connection. */
const GOODBYE_MS = 1_000;

/** A connection whose client has not logged in. */
interface Login {
  readonly socket: Socket;
  readonly address: string;
  /** Whether the address is that of a proxy, which limits its own clients. */
  readonly isTrusted: boolean;
  keysOffered: number;
  /** Once the client has proved whose key it has. */
  proved: { readonly principal: Principal; readonly container: string } | null;
  /** Called once: the client has logged in, or not. */
  settle(outcome: LoginOutcome): void;
}

/** The SSH server: a listener of its own. Users log in with their keys; the user's name is that of the container. */
@Injectable()
export class SshServer implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly listener: NetServer;
  private protocol: Server | null = null;
  private readonly logins = new Map<Socket, Login>();
  private readonly connections: KeyedLimiter;
  private readonly waiting = new KeyedLimiter(MOST_WAITING.ofAddress);
  private readonly users = new KeyedLimiter(MOST_OF_USER);
  private readonly open = new Set<() => void>();

  constructor(
    @Inject(CONFIG) private readonly config: Pick<Config, 'HOST' | 'SSH_PORT' | 'SSH_ADDRESS' | 'CONNECTION_LIMIT'>,
    private readonly hostKeys: HostKeys,
    private readonly keys: SshKeys,
    private readonly limits: SocketLimits,
    private readonly access: ExecAccess,
    private readonly clients: ClientAddress,
    private readonly sessions: SshSessions,
    private readonly forwards: SshForwards,
    private readonly metrics: SshMetrics,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.connections = new KeyedLimiter(config.CONNECTION_LIMIT === 0 ? Infinity : config.CONNECTION_LIMIT);
    this.listener = createServer({ pauseOnConnect: true, noDelay: true, keepAlive: true }, (socket) =>
      this.accept(socket),
    );
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
    for (const { socket } of this.logins.values()) socket.destroy();
    for (const end of [...this.open]) end();
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

  /** Limits connections before anything is read from them. */
  private accept(socket: Socket): void {
    const { remoteAddress = '' } = socket;
    socket.on('error', () => socket.destroy());
    const address = addressKey(remoteAddress);
    // A proxy in front has to limit its own clients.
    const isTrusted = this.clients.trusts(remoteAddress);
    const leave = isTrusted ? (): void => undefined : this.connections.take(address);
    const settled = isTrusted ? (): void => undefined : this.waiting.take(address);
    if (leave) socket.once('close', leave);
    if (!leave || !settled) {
      settled?.();
      this.metrics.noteLogin('too_many');
      socket.destroy();
      return;
    }
    const timer = setTimeout(() => login.settle('late'), LOGIN_MS).unref();
    const login: Login = {
      socket,
      address: remoteAddress,
      isTrusted,
      keysOffered: 0,
      proved: null,
      settle: (outcome) => {
        if (!this.logins.delete(socket)) return;
        clearTimeout(timer);
        settled();
        this.metrics.noteLogin(outcome);
        if (outcome !== 'ok') socket.destroy();
      },
    };
    this.logins.set(socket, login);
    socket.once('close', () => login.settle('refused'));
    const [oldest] = this.logins.values();
    if (this.logins.size > MOST_WAITING.together) oldest?.settle('too_many');
    const admitted = isTrusted ? Promise.resolve() : this.limits.admitAddress(remoteAddress);
    admitted.then(
      () => !socket.destroyed && this.protocol?.injectSocket(socket),
      () => login.settle('rate_limit_exceeded'),
    );
  }

  /** Called once the client has said that it speaks SSH. */
  private begin(connection: Connection): void {
    // Private in ssh2 (1.17.0), which names a connection by its address and port alone.
    const { _sock: socket } = connection as unknown as { readonly _sock: Socket };
    const login = this.logins.get(socket);
    // Faults of the protocol, a client that is gone, and one that answers no more.
    connection.on('error', () => socket.destroy());
    if (!login) {
      socket.destroy();
      return;
    }
    socket.on('data', () => {
      if (socket.writableLength > MOST_UNSENT) socket.destroy();
    });
    connection.on('authentication', (context) => void this.authenticate(connection, login, context));
    connection.on('ready', () => this.admit(connection, login));
  }

  /** Admits a client that has the private key of a registered public one. The container is looked for later. */
  private async authenticate(connection: Connection, login: Login, context: AuthContext): Promise<void> {
    const refuse = (): void => context.reject(['publickey']);
    if (context.method !== 'publickey') {
      refuse();
      return;
    }
    login.keysOffered += 1;
    const isSane = login.keysOffered <= MOST_KEYS_OFFERED && context.username.length <= LONGEST_NAME;
    const { key, signature, blob: signed, hashAlgo: hash } = context;
    try {
      if (!isSane) throw new DomainError('rate_limit_exceeded');
      const name = `ssh:${fingerprintOf(key.data)}`;
      const from = login.isTrusted ? name : login.address;
      const principal = await this.limits.verifyAt(from, name, async () => {
        const found = await this.keys.find(key.data);
        if (!found || !holdsScope(found, 'exec')) return null;
        if (signature === undefined || signed === undefined) return found;
        return verifies({ type: key.algo, blob: key.data }, { signed, signature, hash }) ? found : null;
      });
      if (!principal) refuse();
      else {
        if (signature !== undefined) login.proved = { principal, container: context.username };
        context.accept();
      }
    } catch (error) {
      if (!(error instanceof DomainError)) this.logger.warn({ err: error }, 'a login over SSH could not be decided');
      refuse();
      const isLimited = error instanceof DomainError && error.kind === 'rate_limit_exceeded';
      connection.end();
      login.settle(isLimited ? 'rate_limit_exceeded' : 'failed');
    }
  }

  /** Serves a client that has logged in, until the user's key, suspension or tier ends it. */
  private admit(connection: Connection, login: Login): void {
    const { socket, proved, address } = login;
    const leave = proved && this.users.take(proved.principal.userId);
    if (!proved || !leave) {
      connection.end();
      login.settle('too_many');
      return;
    }
    login.settle('ok');
    const { principal, container } = proved;
    const over = new AbortController();
    const visit: SshVisit = { principal, container, address, socket, over: over.signal };
    const end = (): void => {
      connection.end();
      setTimeout(() => socket.destroy(), GOODBYE_MS).unref();
    };
    const unwatch = this.access.watch(principal, end);
    this.open.add(end);
    socket.once('close', () => {
      unwatch();
      leave();
      this.open.delete(end);
      over.abort(new DomainError('request_timeout', { code: 'client_gone' }));
    });
    this.keys.noteUse(principal.tokenId).catch((error: unknown) => {
      this.logger.warn({ err: error }, 'the use of an SSH key could not be noted');
    });
    this.serve(connection, visit);
  }

  private serve(connection: Connection, visit: SshVisit): void {
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
      if (onEnd) this.sessions.serve(accept(), visit, onEnd);
      else reject();
    });
    connection.on('tcpip', (accept, reject, info) => {
      const onEnd = enter();
      if (onEnd) void this.forwards.serve({ accept, reject }, info, { visit, onEnd });
      else reject();
    });
    // `request` and `openssh.streamlocal` have no listeners: ssh2 refuses remote forwarding and sockets of Unix.
  }
}
