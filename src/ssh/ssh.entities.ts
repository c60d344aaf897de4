import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/**
 * A user's public key. It has a token of its own, with the same id and the scope `exec`: what a key opens ends with
 * that token, and no text opens it.
 */
@Entity('ssh_keys')
export class SshKeyEntity {
  /** Also the id of the key's token. */
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Index('ssh_keys_user_id')
  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @Column({ type: 'varchar', length: 64 })
  name: string;

  /** Such as `ssh-ed25519`. */
  @Column({ type: 'varchar', length: 32 })
  type: string;

  /** SHA-256 of the key in base64 without padding, as `ssh-keygen -l` shows it. A key belongs to one user. */
  @Column({ type: 'varchar', length: 43, unique: true })
  fingerprint: string;

  /** In base64. */
  @Column({ name: 'public_key', type: 'varchar', length: 4096 })
  publicKey: string;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  /** null if the key does not expire. */
  @Index('ssh_keys_expires_at')
  @Column({ name: 'expires_at', type: TIMESTAMP, nullable: true })
  expiresAt: Date | null;

  /** When it was last used to log in, to the minute. */
  @Column({ name: 'last_used_at', type: TIMESTAMP, nullable: true })
  lastUsedAt: Date | null;
}

/** A host key of this Berth, shared by its processes. */
@Entity('ssh_host_keys')
export class SshHostKeyEntity {
  @PrimaryColumn({ type: 'varchar', length: 32 })
  type: string;

  /** In OpenSSH's format, encrypted. */
  @Column({ name: 'private_key', type: 'text' })
  privateKey: string;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;
}
