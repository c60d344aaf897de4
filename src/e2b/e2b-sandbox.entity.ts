import { Column, Entity, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** What a container has because a client of E2B uses it: made with it, or at its first connection. */
@Entity('e2b_sandboxes')
export class E2bSandboxEntity {
  @PrimaryColumn({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;

  /** The secret of {@link SandboxAccess}, sealed. */
  @Column({ name: 'access_token', type: 'text' })
  sealedToken: string;

  /** The template as it was asked for. */
  @Column({ type: 'varchar', length: 255 })
  template: string;

  /** The metadata if labels cannot hold it; null: it is the labels. */
  @Column({ type: 'simple-json', nullable: true })
  metadata: Record<string, string> | null;

  /** Whether everybody may see all of its ports. */
  @Column({ name: 'is_public', type: 'boolean' })
  isPublic: boolean;

  /** The `Host` of requests to its ports, with `${PORT}` for the port; null: the usual. */
  @Column({ name: 'request_host', type: 'varchar', length: 255, nullable: true })
  requestHost: string | null;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;
}
