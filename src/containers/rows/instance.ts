import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { type Config, CONFIG } from '../../config';
import { Database, SettingEntity, sql } from '../../database';
import type { OwnerLabels } from '../../engine';
import type { ContainerRow } from '../model/container.entity';

const KEY = 'instance_id';

/**
 * Identifies the containers of this Berth in Docker by their instance label. Without `INSTANCE_ID` the name is
 * generated once and stored in the database, so two Berths with separate databases never touch each other's
 * containers.
 */
@Injectable()
export class Instance {
  private known: string | null = null;

  constructor(
    private readonly database: Database,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** Loads or generates the name. Await it before anything else. */
  async load(): Promise<string> {
    this.known = this.config.INSTANCE_ID ?? (await this.stored());
    return this.known;
  }

  get id(): string {
    if (this.known === null) throw new Error('Instance.load() comes first');
    return this.known;
  }

  /**
   * The labels of everything that Berth creates in Docker for a container.
   *
   * @param other a snapshot or another container of the same user, for which it is created instead
   */
  owner(
    row: Pick<ContainerRow, 'id' | 'userId'>,
    other: { readonly id: string; readonly isSnapshot: boolean } = { id: row.id, isSnapshot: false },
  ): OwnerLabels {
    const owner = { instance: this.id, containerId: other.id, userId: row.userId };
    return other.isSnapshot ? { ...owner, isSnapshot: true } : owner;
  }

  private async stored(): Promise<string> {
    const { manager } = this.database;
    const value = randomUUID().slice(0, 13);
    // Two processes may start at once on a new database: the first insert wins, and both read its value.
    await this.database.run(sql`${sql.insert(SettingEntity, { key: KEY, value })} ON CONFLICT DO NOTHING`);
    const setting = await manager.findOneByOrFail(SettingEntity, { key: KEY });
    return setting.value;
  }
}
