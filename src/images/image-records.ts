import { Injectable } from '@nestjs/common';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Database } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { Clock } from '../scheduling';

/**
 * A version of an image in Docker, under the reference that Berth pulled it by. Images carry no labels of ours, so this
 * table alone knows which of them Berth brought and may remove.
 */
@Entity('images')
export class ImageEntity {
  /** The Docker that it is in, by its own id; empty if that has none. In another one it is not ours. */
  @PrimaryColumn({ name: 'docker_id', type: 'varchar', length: 64 })
  dockerId: string;

  @PrimaryColumn({ type: 'varchar', length: 350 })
  reference: string;

  /** Docker's own id; empty: a pull that has begun. Written first, so that the death of a process loses no image. */
  @PrimaryColumn({ name: 'image_id', type: 'varchar', length: 80 })
  imageId: string;

  /** Whether it was not in Docker before. What a pull only confirmed is somebody else's. */
  @Column({ type: 'boolean' })
  brought: boolean;

  /** Of a pull that has begun: the version before; null: none. */
  @Column({ name: 'previous_id', type: 'varchar', length: 80, nullable: true })
  previousId: string | null;

  /** When the registry was asked last. */
  @Column({ name: 'checked_at', type: TIMESTAMP })
  checkedAt: Date;

  /** When a container last needed it, to the interval of the removals. */
  @Index('images_used_at')
  @Column({ name: 'used_at', type: TIMESTAMP })
  usedAt: Date;
}

export type ImageRecord = Readonly<ImageEntity>;

const PULLING = '';

/** Far below the parameter limits of SQLite and PostgreSQL. */
const BATCH = 100;

/** What this Berth knows of the images in Docker; the sole writer of their rows. */
@Injectable()
export class ImageRecords {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** To be awaited before a pull. Of several pulls of one image at once, the first one's version before stands. */
  async begin({ dockerId, reference, previousId }: Pick<ImageRecord, 'dockerId' | 'reference' | 'previousId'>) {
    const now = this.clock.now();
    const record = { dockerId, reference, imageId: PULLING, brought: false, previousId, checkedAt: now, usedAt: now };
    await this.insertIfAbsent(record);
  }

  /** After a pull, or after a look at what an interrupted one has done. */
  async finish({ dockerId, reference, imageId, brought }: Omit<ImageRecord, 'previousId' | 'checkedAt' | 'usedAt'>) {
    const now = this.clock.now();
    await this.database.runInTx(async () => {
      const { manager } = this.database;
      await this.insertIfAbsent({
        dockerId,
        reference,
        imageId,
        brought,
        previousId: null,
        checkedAt: now,
        usedAt: now,
      });
      // A pull that began after another had brought it only confirms it, and takes nothing back.
      const known = { checkedAt: now, usedAt: now, ...(brought && { brought }) };
      await manager.update(ImageEntity, { dockerId, reference, imageId }, known);
      await manager.delete(ImageEntity, { dockerId, reference, imageId: PULLING });
    });
  }

  /** When the registry was last asked for this image, with success; null: never. */
  async checkedAt(reference: string): Promise<Date | null> {
    const newest = await this.database.manager
      .createQueryBuilder(ImageEntity, 'i')
      .where('i.reference = :reference AND i.imageId <> :pulling', { reference, pulling: PULLING })
      .orderBy('i.checkedAt', 'DESC')
      .limit(1)
      .getOne();
    return newest?.checkedAt ?? null;
  }

  /** The pulls that have not been finished; of other processes, too, and running ones. */
  async unfinished(dockerId: string): Promise<ImageRecord[]> {
    return this.database.manager.findBy(ImageEntity, { dockerId, imageId: PULLING });
  }

  /** Those that Berth brought, the ones that were not needed for the longest time first. */
  async brought(dockerId: string): Promise<ImageRecord[]> {
    return this.database.manager.find(ImageEntity, {
      where: { dockerId, brought: true },
      order: { usedAt: 'ASC', checkedAt: 'ASC' },
    });
  }

  async markUsed(records: readonly ImageRecord[]): Promise<void> {
    const usedAt = this.clock.now();
    for (let from = 0; from < records.length; from += BATCH) {
      const keys = records
        .slice(from, from + BATCH)
        .map(({ dockerId, reference, imageId }) => ({ dockerId, reference, imageId }));
      await this.database.manager.createQueryBuilder().update(ImageEntity).set({ usedAt }).where(keys).execute();
    }
  }

  async forget({ dockerId, reference, imageId }: ImageRecord): Promise<void> {
    await this.database.manager.delete(ImageEntity, { dockerId, reference, imageId });
  }

  private async insertIfAbsent(record: ImageRecord): Promise<void> {
    await this.database.manager.createQueryBuilder().insert().into(ImageEntity).values(record).orIgnore().execute();
  }
}
