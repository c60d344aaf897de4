import { Inject, Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { Raw } from 'typeorm';
import { grantedEnd, grantedScopes, type Principal, TokenRequests, TokenService } from '../auth';
import { CONFIG, type Config } from '../config';
import { Database, isUniqueViolation, type Lookup, Retention, sql } from '../database';
import { DomainError, invalidParameters } from '../errors';
import { Clock } from '../scheduling';
import { fingerprintOf, isSameKey, parsePublicKey } from './public-key';
import { SshKeyEntity } from './ssh.entities';

const DAY_SECONDS = 24 * 3600;

/** `last_used_at` is written at most this often. */
const USE_NOTED_EVERY_MS = 60_000;

/** A key opens what is inside containers, and nothing else. */
const SCOPES = ['exec'] as const;

/** The key's token is neither revoked nor expired, and its user exists. */
const IS_LIVE = `EXISTS (SELECT 1 FROM tokens t INNER JOIN users u ON u.id = t.user_id WHERE t.id = ssh_keys.id
  AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > :now) AND u.deleted_at IS NULL)`;

interface NewKey {
  readonly name: string;
  /** A line as in `id_ed25519.pub`. */
  readonly publicKey: string;
  /** Lifetime in seconds; undefined: as long as allowed. */
  readonly seconds: number | undefined;
}

/** The keys with which users log in over SSH. */
@Injectable()
export class SshKeys {
  private readonly byFingerprint: Lookup;

  constructor(
    private readonly database: Database,
    private readonly requests: TokenRequests,
    private readonly tokens: TokenService,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'TOKEN_LIMIT'>,
  ) {
    this.byFingerprint = database.lookup({
      columns: ['id', 'public_key'],
      from: 'ssh_keys',
      key: 'fingerprint',
    });
  }

  /**
   * Registers a key, which then ends at the latest with the token that asks. It counts as a token.
   *
   * @throws DomainError `invalid_parameters`, `ssh_key_taken`, `token_limit_reached`, `unauthorized`,
   *   `insufficient_permissions` without the scope `exec`, `user_suspended`, `guest_session_expired`
   */
  async create(caller: Principal, { name, publicKey, seconds }: NewKey): Promise<SshKeyEntity> {
    const parsed = parsePublicKey(publicKey);
    if (typeof parsed === 'string') throw invalidParameters([{ field: 'public_key', message: parsed }]);
    const { type, blob, fingerprint } = parsed;
    const { userId } = caller;
    try {
      return await this.database.runInTxLocking(userId, async () => {
        const issuer = await this.requests.requireIssuer(caller);
        const now = this.clock.now();
        const days = seconds === undefined ? undefined : seconds / DAY_SECONDS;
        const expiresAt = grantedEnd({ own: issuer.endsAt, days, now });
        const { manager } = this.database;
        await this.removeDead({ userId, fingerprint, now });
        if (await manager.existsBy(SshKeyEntity, { fingerprint })) throw new DomainError('ssh_key_taken');
        const prefix = `ssh:${fingerprint.slice(0, 8)}`;
        const scopes = grantedScopes({ own: issuer.scopes, asked: SCOPES });
        const issue = { userId, name, scopes, expiresAt, prefix };
        const { token } = await this.requests.issueWithin(this.config.TOKEN_LIMIT, issue);
        const key: SshKeyEntity = {
          id: token.id,
          userId,
          name,
          type,
          fingerprint,
          publicKey: blob.toString('base64'),
          createdAt: now,
          expiresAt,
          lastUsedAt: null,
        };
        await manager.insert(SshKeyEntity, key);
        return key;
      });
    } catch (error) {
      if (isUniqueViolation(error)) throw new DomainError('ssh_key_taken', { cause: error });
      throw error;
    }
  }

  /** The user's keys that have not ended, oldest first. */
  list(userId: string): Promise<SshKeyEntity[]> {
    return this.database.manager
      .createQueryBuilder(SshKeyEntity, 'ssh_keys')
      .where('ssh_keys.userId = :userId', { userId })
      .andWhere(IS_LIVE, { now: this.database.timestamp(this.clock.now()) })
      .orderBy('ssh_keys.createdAt')
      .addOrderBy('ssh_keys.id')
      .getMany();
  }

  /** Deletes a key, and ends the connections that were opened with it. @throws DomainError `ssh_key_not_found` */
  async remove(userId: string, id: string): Promise<void> {
    const where = { id, userId };
    const { manager } = this.database;
    if (!isUUID(id) || !(await manager.existsBy(SshKeyEntity, where))) throw new DomainError('ssh_key_not_found');
    const revoked = await this.tokens.revoke({ userId, tokenId: id }).then(
      () => true,
      (error: unknown) => {
        if (error instanceof DomainError && error.kind === 'token_not_found') return false;
        throw error;
      },
    );
    await manager.delete(SshKeyEntity, where);
    if (!revoked) throw new DomainError('ssh_key_not_found');
  }

  /**
   * Finds whose key it is. The caller has to verify that the client has the private key.
   *
   * @returns null if the key is unknown, or was deleted, or has ended
   * @throws DomainError `user_suspended`
   */
  async find(blob: Buffer): Promise<Principal | null> {
    const row = (await this.byFingerprint(fingerprintOf(blob))) as readonly [id: string, publicKey: string] | null;
    if (!row) return null;
    const [id, publicKey] = row;
    return isSameKey(Buffer.from(publicKey, 'base64'), blob) ? this.tokens.principalOf(id) : null;
  }

  /** Records that a user has logged in with the key. */
  async noteUse(id: string): Promise<void> {
    const now = this.clock.now();
    const noted = new Date(now.getTime() - USE_NOTED_EVERY_MS);
    await this.database.run(sql`
      UPDATE ssh_keys SET last_used_at = ${now}
      WHERE id = ${id} AND (last_used_at IS NULL OR last_used_at < ${noted})`);
  }

  /** Deletes the user's keys that have ended otherwise than by {@link remove}, and such a key of another user. */
  private async removeDead({
    userId,
    fingerprint,
    now,
  }: {
    userId: string;
    fingerprint: string;
    now: Date;
  }): Promise<void> {
    const id = Raw(() => `NOT ${IS_LIVE}`, { now: this.database.timestamp(now) });
    await this.database.manager.delete(SshKeyEntity, [
      { userId, id },
      { fingerprint, id },
    ]);
  }
}

/** Deletes expired keys. */
@Injectable()
export class SshKeyRetention extends Retention {
  constructor(database: Database, clock: Clock) {
    super(database, clock, { name: 'SSH keys', entity: SshKeyEntity, since: 'expires_at', keptMs: 0 });
  }
}
