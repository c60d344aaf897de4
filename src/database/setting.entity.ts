import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A fact that a database stores about itself, such as the instance id that labels its Docker objects. */
@Entity('settings')
export class SettingEntity {
  @PrimaryColumn({ type: 'varchar', length: 64 })
  key: string;

  @Column({ type: 'varchar', length: 255 })
  value: string;
}
