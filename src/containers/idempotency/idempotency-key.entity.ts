import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../../database/column-types';
import type { ContainerCreatedView } from '../dto/container-answers';

/** A creation that was answered under a key of the client's, written in the transaction that inserted the container. */
@Entity('idempotency_keys')
export class IdempotencyKeyEntity {
  @PrimaryColumn({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @PrimaryColumn({ type: 'varchar', length: 255 })
  key: string;

  /** SHA-256 of the request, 64 hex. The request itself holds the user's secrets. */
  @Column({ name: 'request_hash', type: 'varchar', length: 64 })
  requestHash: string;

  @Column({ type: 'simple-json' })
  answer: ContainerCreatedView;

  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;

  @Index('idempotency_keys_created_at')
  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;
}
