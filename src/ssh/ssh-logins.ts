import { Inject, Injectable } from '@nestjs/common';
import type { Server, Socket } from 'node:net';
import type { AuthContext, Connection } from 'ssh2';
import { holdsScope, type Principal } from '../auth';
import { DomainError } from '../errors';
import { addressKey, ClientAddress, Listeners } from '../http';
import { LOGGER, type Logger } from '../logging';
import { SocketLimits } from '../rate-limits';
import { KeyedLimiter } from '../scheduling';
import { fingerprintOf, verifies } from './public-key';
import { SshKeys } from './ssh-keys';
import { type LoginOutcome, SshMetrics } from './ssh-metrics';

/** How long a client may take to log in, a person's passphrase for the key included. */
const LOGIN_MS = 30_000;
/** Connections that have not logged in. Beyond the first number, the oldest one is closed. */
const MOST_WAITING = { together: 200, ofAddress: 20 } as const;
/** How long a client may read nothing although data waits for it: one that answers no more ends as early. */
const STALLED_MS = 5 * 60_000;
/** Keys that a client may offer on one connection: agents offer all that they have. */
const MOST_KEYS_OFFERED = 20;
/** Attempts without a key: clients begin with `none`, and some try what is not offered. */
const MOST_OTHER_ATTEMPTS = 10;

/** Longer than any name or id of a container. */
const LONGEST_NAME = 128;

/** A client that has proved whose key it has. */
export interface LoggedIn {
  readonly principal: Principal;
  /** The name or id that it gave as its user's name. */
  readonly container: string;
  readonly address: string;
}

/** A connection whose client has not logged in. */
interface Login {
  readonly socket: Socket;
  readonly address: string;
  /** Whether the address is that of a proxy, which limits its own clients. */
  readonly isTrusted: boolean;
  keysOffered: number;
  otherAttempts: number;
  /** Once the client has proved whose key it has. */
  proved: LoggedIn | null;
  /** Called once: the client has logged in, or not. */
  settle(outcome: LoginOutcome): void;
}

/** The connections whose clients have not logged in: how many, how long, and by which keys they do. */
@Injectable()
export class SshLogins {
  /** The oldest first. */
  private readonly logins = new Map<Socket, Login>();
  private readonly waiting = new KeyedLimiter(MOST_WAITING.ofAddress);

  constructor(
    private readonly keys: SshKeys,
    private readonly limits: SocketLimits,
    private readonly clients: ClientAddress,
    private readonly metrics: SshMetrics,
    private readonly listeners: Listeners,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Creates the listener. @param begin called with each connection whose client may log in */
  createListener(begin: (socket: Socket) => void): Server {
    const options = { pauseOnConnect: true, noDelay: true, keepAlive: true };
    const refuse = (socket: Socket): void => {
      this.metrics.noteLogin('too_many');
      socket.destroy();
    };
    return this.listeners.tcp('ssh', { options, stalledMs: STALLED_MS, refuse }, (socket) =>
      this.accept(socket, () => begin(socket)),
    );
  }

  /**
   * Limits a new connection before anything is read from it.
   *
   * @param begin called if the client may log in
   */
  private accept(socket: Socket, begin: () => void): void {
    const { remoteAddress = '' } = socket;
    socket.on('error', () => socket.destroy());
    const address = addressKey(remoteAddress);
    // A proxy in front has to limit its own clients.
    const isTrusted = this.clients.trusts(remoteAddress);
    const settled = isTrusted ? (): void => undefined : this.waiting.take(address);
    if (!settled) {
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
      otherAttempts: 0,
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
      () => !socket.destroyed && begin(),
      () => login.settle('rate_limit_exceeded'),
    );
  }

  /**
   * Lets a client log in, once it has said that it speaks SSH.
   *
   * @param admit called when it has; returns false to refuse it
   */
  serve(connection: Connection, socket: Socket, admit: (client: LoggedIn) => boolean): void {
    const login = this.logins.get(socket);
    if (!login) {
      socket.destroy();
      return;
    }
    connection.on('authentication', (context) => void this.authenticate(connection, login, context));
    connection.on('ready', () => {
      const { proved } = login;
      if (!proved || !admit(proved)) {
        connection.end();
        login.settle('too_many');
        return;
      }
      login.settle('ok');
      this.keys.noteUse(proved.principal.tokenId).catch((error: unknown) => {
        this.logger.warn({ err: error }, 'the use of an SSH key could not be noted');
      });
    });
  }

  closeAll(): void {
    for (const { socket } of this.logins.values()) socket.destroy();
  }

  /** Admits a client that has the private key of a registered public one. The container is looked for later. */
  private async authenticate(connection: Connection, login: Login, context: AuthContext): Promise<void> {
    const refuse = (): void => context.reject(['publickey']);
    if (context.method !== 'publickey') {
      login.otherAttempts += 1;
      refuse();
      if (login.otherAttempts > MOST_OTHER_ATTEMPTS) login.settle('refused');
      return;
    }
    login.keysOffered += 1;
    const isSane = login.keysOffered <= MOST_KEYS_OFFERED && context.username.length <= LONGEST_NAME;
    const { key, signature, blob: signed, hashAlgo: hash } = context;
    try {
      if (!isSane) throw new DomainError('rate_limit_exceeded');
      const isProof = signature !== undefined && signed !== undefined;
      const principal = await this.limits.verifyKey({
        address: login.isTrusted ? null : login.address,
        name: `ssh:${fingerprintOf(key.data)}`,
        find: async () => {
          const found = await this.keys.find(key.data);
          return found && holdsScope(found, 'exec') ? found : null;
        },
        proves: isProof ? () => verifies({ type: key.algo, blob: key.data }, { signed, signature, hash }) : undefined,
      });
      if (!principal) refuse();
      else {
        if (isProof) login.proved = { principal, container: context.username, address: login.address };
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
}
