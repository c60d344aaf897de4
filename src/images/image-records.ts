import { Injectable } from '@nestjs/common';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Database, sql } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { Clock } from '../scheduling';

/**
 * A version of an image in Docker, under the reference that Berth pulled it by. Images carry no labels of Berth, so
 * only this table tells which images Berth pulled and may remove.
 */
@Entity('images')
export class ImageEntity {
  /**
   * The id of the Docker daemon that has the image; empty if the daemon has none. The row says nothing about other
   * daemons.
   */
  @PrimaryColumn({ name: 'docker_id', type: 'varchar', length: 64 })
  engineId: string;

  @PrimaryColumn({ type: 'varchar', length: 350 })
  reference: string;

  /**
   * Docker's image id; empty for a pull in progress. That row is written before the pull, so that Berth still knows
   * the image if the process dies.
   */
  @PrimaryColumn({ name: 'image_id', type: 'varchar', length: 80 })
  imageId: string;

  /** Whether the pull added the image to Docker. An image that the pull only confirmed does not belong to Berth. */
  @Column({ type: 'boolean' })
  brought: boolean;

  /** For a pull in progress: the version before it; null if there was none. */
  @Column({ name: 'previous_id', type: 'varchar', length: 80, nullable: true })
  previousId: string | null;

  /** When the registry was asked last. */
  @Column({ name: 'checked_at', type: TIMESTAMP })
  checkedAt: Date;

  /** When a container last needed the image, to the precision of the interval of removals. */
  @Index('images_used_at')
  @Column({ name: 'used_at', type: TIMESTAMP })
  usedAt: Date;
}

export type ImageRecord = Readonly<ImageEntity>;

const PULLING = '';

/** Maximum rows per statement: far below the parameter limits of SQLite and PostgreSQL. */
const BATCH = 100;

/** The records of the images that Berth pulled; the sole writer of their rows. */
@Injectable()
export class ImageRecords {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /**
   * Records the start of a pull; await it before the pull. Of concurrent pulls of an image, the first one's
   * `previousId` stays.
   */
  async begin({ engineId, reference, previousId }: Pick<ImageRecord, 'engineId' | 'reference' | 'previousId'>) {
    const now = this.clock.now();
    const record = { engineId, reference, imageId: PULLING, brought: false, previousId, checkedAt: now, usedAt: now };
    await this.insertIfAbsent(record);
  }

  /** Records the end of a pull, or what an interrupted pull turned out to have done. */
  async finish({ engineId, reference, imageId, brought }: Omit<ImageRecord, 'previousId' | 'checkedAt' | 'usedAt'>) {
    const now = this.clock.now();
    await this.database.runInTx(async () => {
      const { manager } = this.database;
      await this.insertIfAbsent({
        engineId,
        reference,
        imageId,
        brought,
        previousId: null,
        checkedAt: now,
        usedAt: now,
      });
      // A pull that began after another one had added the image only confirms it, and must not reset `brought`.
      const known = { checkedAt: now, usedAt: now, ...(brought && { brought }) };
      await manager.update(ImageEntity, { engineId, reference, imageId }, known);
      await manager.delete(ImageEntity, { engineId, reference, imageId: PULLING });
    });
  }

  /** When the registry was last asked successfully for this image; null: never. */
  async checkedAt(reference: string): Promise<Date | null> {
    const newest = await this.database.manager
      .createQueryBuilder(ImageEntity, 'i')
      .where('i.reference = :reference AND i.imageId <> :pulling', { reference, pulling: PULLING })
      .orderBy('i.checkedAt', 'DESC')
      .limit(1)
      .getOne();
    return newest?.checkedAt ?? null;
  }

  /** The pulls that have no end, running ones and those of other processes included. */
  async unfinished(engineId: string): Promise<ImageRecord[]> {
    return this.database.manager.findBy(ImageEntity, { engineId, imageId: PULLING });
  }

  /** The images that Berth added to Docker, least recently used first. */
  async brought(engineId: string): Promise<ImageRecord[]> {
    return this.database.manager.find(ImageEntity, {
      where: { engineId, brought: true },
      order: { usedAt: 'ASC', checkedAt: 'ASC' },
    });
  }

  async markUsed(records: readonly ImageRecord[]): Promise<void> {
    const usedAt = this.clock.now();
    for (let from = 0; from < records.length; from += BATCH) {
      const keys = records
        .slice(from, from + BATCH)
        .map((key) => sql`(${sql.list([key.engineId, key.reference, key.imageId])})`);
      await this.database.run(sql`
        UPDATE images SET used_at = ${usedAt} WHERE (docker_id, reference, image_id) IN (VALUES ${sql.list(keys)})`);
    }
  }

  async forget({ engineId, reference, imageId }: ImageRecord): Promise<void> {
    await this.database.manager.delete(ImageEntity, { engineId, reference, imageId });
  }

  private async insertIfAbsent(record: ImageRecord): Promise<void> {
    await this.database.run(sql`${sql.insert(ImageEntity, record)} ON CONFLICT DO NOTHING`);
  }
}
