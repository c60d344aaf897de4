import type { ContainerRow } from '../container.entity';

/** What a start did; the optional parts only where the container was made anew. */
export interface Started {
  readonly row: ContainerRow;
  readonly recreated?: true;
  readonly old_id?: string;
  readonly volume_kept?: boolean;
}
