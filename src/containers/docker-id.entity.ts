import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** Every Docker id that a container has or had, so that a client's old id still finds it. */
@Entity('container_docker_ids')
export class DockerIdEntity {
  /** 64 hex. */
  @PrimaryColumn({ name: 'docker_id', type: 'varchar', length: 64 })
  dockerId: string;

  /** The first 12 hex, which Docker prints. */
  @Index('container_docker_ids_short_id')
  @Column({ name: 'short_id', type: 'varchar', length: 12 })
  shortId: string;

  @Index('container_docker_ids_container_id')
  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;
}
