import { Injectable } from '@nestjs/common';
import { randomInt } from 'node:crypto';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { AuditLog } from '../audit';
import { UserEntity, UserService } from '../auth';
import { Database, isUniqueViolation } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import type { Admission } from './claims';

/** A user's account at an OpenID provider. Its subject never changes and is never reused (OpenID Connect Core, 2). */
@Entity('openid_identities')
export class OpenIdIdentityEntity {
  @PrimaryColumn({ type: 'varchar', length: 255 })
  issuer: string;

  @PrimaryColumn({ type: 'varchar', length: 255 })
  subject: string;

  @Index('openid_identities_user_id')
  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** Since when the user is suspended because their claims no longer let them in; null if they do. */
  @Column({ name: 'refused_at', type: TIMESTAMP, nullable: true })
  refusedAt: Date | null;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  @Column({ name: 'signed_in_at', type: TIMESTAMP })
  signedInAt: Date;
}

/** An account at a provider. */
export type Identity = Pick<OpenIdIdentityEntity, 'issuer' | 'subject'>;

/** How often a name that is taken is tried with another suffix. */
const NAME_ATTEMPTS = 5;

/** The users of those who sign in through an OpenID provider. */
@Injectable()
export class Identities {
  constructor(
    private readonly database: Database,
    private readonly users: UserService,
    private readonly audit: AuditLog,
    private readonly clock: Clock,
  ) {}

  /**
   * Finds or creates the user of an account, and moves the user to the tier. An account whose user was deleted gets a
   * new one. An existing user is never taken over by name: at most providers, people choose their names.
   *
   * If the claims do not let an existing user in, the user is suspended until a sign-in with claims that do. A
   * suspension by an administrator is unaffected.
   *
   * @param admission what the claims make of the user; null if they do not let the user in
   * @throws DomainError `sign_in_refused`, `user_suspended`
   */
  async signIn(identity: Identity, admission: Admission | null): Promise<UserEntity> {
    const user = await this.findOrCreate(identity, admission).catch((error: unknown) => {
      // Another process has just created the user of this account.
      if (isUniqueViolation(error)) return this.findOrCreate(identity, admission);
      throw error;
    });
    if (!user) throw new DomainError('sign_in_refused');
    if (user.suspendedAt) throw new DomainError('user_suspended');
    return user;
  }

  /** @returns null if the claims do not let the user in, which must be committed */
  private findOrCreate(identity: Identity, admission: Admission | null): Promise<UserEntity | null> {
    return this.database.runInTxLocking(JSON.stringify(identity), async () => {
      const known = await this.database.manager.findOneBy(OpenIdIdentityEntity, identity);
      const found = known && (await this.database.manager.findOneBy(UserEntity, { id: known.userId }));
      if (!known || !found || found.deletedAt) return admission && this.create(identity, admission, known);
      return this.admit(known, found, admission);
    });
  }

  /** @param former the identity of a deleted user */
  private async create(
    identity: Identity,
    admission: Admission,
    former: OpenIdIdentityEntity | null,
  ): Promise<UserEntity> {
    const user = await this.createUser(admission);
    const now = this.clock.now();
    const row = { ...identity, userId: user.id, refusedAt: null, createdAt: now, signedInAt: now };
    if (former) await this.database.manager.update(OpenIdIdentityEntity, identity, row);
    else await this.database.manager.insert(OpenIdIdentityEntity, row);
    await this.record('user.create', user);
    return user;
  }

  private async createUser({ username, tier }: Admission): Promise<UserEntity> {
    let name = username;
    for (let attempt = 1; ; attempt += 1) {
      if (!(await this.users.byName(name)) || attempt === NAME_ATTEMPTS) {
        return this.users.create({ username: name, tier });
      }
      name = `${username}-${String(randomInt(1000, 10_000))}`;
    }
  }

  private async admit(
    { issuer, subject, refusedAt }: OpenIdIdentityEntity,
    user: UserEntity,
    admission: Admission | null,
  ): Promise<UserEntity | null> {
    const now = this.clock.now();
    if (!admission) {
      if (user.suspendedAt) return null;
      await this.users.change(user.id, { suspended: true });
      await this.database.manager.update(OpenIdIdentityEntity, { issuer, subject }, { refusedAt: now });
      await this.record('user.update', user);
      return null;
    }
    await this.database.manager.update(OpenIdIdentityEntity, { issuer, subject }, { refusedAt: null, signedInAt: now });
    if (refusedAt === null && user.tier === admission.tier) return user;
    await this.record('user.update', user);
    return this.users.change(user.id, { tier: admission.tier, ...(refusedAt && { suspended: false }) });
  }

  private record(action: 'user.create' | 'user.update', { id }: UserEntity): Promise<void> {
    return this.audit.recordSystem({ action, subjectUserId: id, containerId: null, targetId: id });
  }
}
