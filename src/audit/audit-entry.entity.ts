import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';
import type { WorkInside } from '../logging';

/**
 * Who did what to which object, when, from where, and with which outcome. Contains no secrets, and nothing of the
 * request's or response's body except the details below.
 */
@Entity('audit_entries')
@Index('audit_entries_at', ['at'])
@Index('audit_entries_user_id', ['userId', 'at'])
@Index('audit_entries_subject_user_id', ['subjectUserId', 'at'])
@Index('audit_entries_container_id', ['containerId', 'at'])
export class AuditEntryEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  /** When the action began. */
  @Column({ type: TIMESTAMP })
  at: Date;

  /** The action, such as `container.start`. */
  @Column({ type: 'varchar', length: 64 })
  action: string;

  /** `pending` until the action ends, or for ever if the process died. Then `ok`, or the error's code. */
  @Column({ type: 'varchar', length: 64 })
  outcome: string;

  /** The user who acted; null: Berth itself, or a caller who was not authenticated. */
  @Column({ name: 'user_id', type: 'varchar', length: 36, nullable: true })
  userId: string | null;

  @Column({ name: 'token_id', type: 'varchar', length: 36, nullable: true })
  tokenId: string | null;

  /** The owner of the object. */
  @Column({ name: 'subject_user_id', type: 'varchar', length: 36, nullable: true })
  subjectUserId: string | null;

  /** The database id of the container, once it is known. */
  @Column({ name: 'container_id', type: 'varchar', length: 36, nullable: true })
  containerId: string | null;

  /** The id or name in the request's path, as the client wrote it; if there is none, the id of the created object. */
  @Column({ name: 'target_id', type: 'varchar', length: 128, nullable: true })
  targetId: string | null;

  @Column({ type: 'varchar', length: 64, nullable: true })
  address: string | null;

  @Column({ name: 'request_id', type: 'varchar', length: 128, nullable: true })
  requestId: string | null;

  /** Details of an action inside a container: the program's name, or the bytes transferred. */
  @Column({ type: 'simple-json', nullable: true })
  detail: WorkInside | null;

  @Column({ name: 'finished_at', type: TIMESTAMP, nullable: true })
  finishedAt: Date | null;
}
