import { Injectable } from '@nestjs/common';
import type { SelectQueryBuilder } from 'typeorm';
import { Database, isUniqueViolation } from '../database';
import { familiarRepository, parseImageReference } from '../engine';
import { IMAGE_NAME } from './load-images';
import { permits, TemplateEntity, type TemplateRow } from './template.entity';

/** What {@link TemplateRepository.put} has written. */
interface Written {
  readonly written: TemplateRow;
  readonly replaced: TemplateRow | null;
}

/** The templates of containers; the sole writer of their rows. */
@Injectable()
export class TemplateRepository {
  constructor(private readonly database: Database) {}

  /** @returns null if there is no template of this name, and for text that can be none */
  async find(name: string): Promise<TemplateRow | null> {
    if (!IMAGE_NAME.test(name)) return null;
    return this.query().where('t.name = :name', { name }).getOne();
  }

  /** All templates by name; with a tier, those that its users may use. */
  async list(tier?: string): Promise<TemplateRow[]> {
    const all = await this.query().orderBy('t.name').getMany();
    return tier === undefined ? all : all.filter((template) => permits(template, tier));
  }

  /** The names of the templates whose own files can be used; none of templates of an image alone. */
  async withReadyFiles(): Promise<ReadonlySet<string>> {
    const query = this.query().select('t.name', 'name').innerJoin('snapshots', 's', 's.id = t.files_id');
    const rows = await query.where("s.status = 'ready'").getRawMany<{ name: string }>();
    return new Set(rows.map(({ name }) => name));
  }

  /** Whether a reference names the image of a template, in any of the forms that Docker accepts. */
  async ownsImage(reference: string): Promise<boolean> {
    const asked = parseImageReference(reference);
    if (asked === null) return false;
    const ofImages = this.query().select('t.image', 'image').distinct().where('t.filesId IS NULL');
    const images = await ofImages.getRawMany<{ image: string }>();
    return images.some(({ image }) => {
      const own = parseImageReference(image);
      if (own === null || familiarRepository(own.repository) !== familiarRepository(asked.repository)) return false;
      // A digest may be that of any tag.
      return own.digest !== null || asked.digest !== null || (own.tag ?? 'latest') === (asked.tag ?? 'latest');
    });
  }

  /**
   * Creates a template, or replaces the one of its name, whose time of creation stays.
   *
   * @param more further writes of the same transaction; gets the replaced template
   * @returns the template as written, and the one that it replaced
   */
  async put(row: TemplateRow, more: (replaced: TemplateRow | null) => Promise<void>): Promise<Written> {
    const write = (): Promise<Written> =>
      this.database.runInTxLocking(lockOf(row), async () => {
        const replaced = await this.lock(row.name);
        const written = replaced === null ? row : { ...row, createdAt: replaced.createdAt };
        const { manager } = this.database;
        if (replaced === null) await manager.insert(TemplateEntity, written);
        else await manager.update(TemplateEntity, { name: row.name }, written);
        await more(replaced);
        return { written, replaced };
      });
    try {
      return await write();
    } catch (error) {
      // Another process has created it meanwhile: now it is replaced.
      if (!isUniqueViolation(error)) throw error;
      return write();
    }
  }

  /** @param more further writes of the same transaction @returns null if there is no template of this name */
  async delete(name: string, more: (deleted: TemplateRow) => Promise<void>): Promise<TemplateRow | null> {
    if (!IMAGE_NAME.test(name)) return null;
    return this.database.runInTxLocking(lockOf({ name }), async () => {
      const found = await this.lock(name);
      if (found === null) return null;
      await this.database.manager.delete(TemplateEntity, { name });
      await more(found);
      return found;
    });
  }

  private lock(name: string): Promise<TemplateRow | null> {
    const query = this.query().where('t.name = :name', { name });
    return (this.database.isSqlite ? query : query.setLock('pessimistic_write')).getOne();
  }

  private query(): SelectQueryBuilder<TemplateEntity> {
    return this.database.manager.createQueryBuilder(TemplateEntity, 't');
  }
}

function lockOf({ name }: Pick<TemplateRow, 'name'>): string {
  return `template ${name}`;
}
