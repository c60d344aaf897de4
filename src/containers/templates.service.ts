import { Injectable } from '@nestjs/common';
import { EngineError, isLayerImage, parseImageReference } from '../engine';
import { DomainError, invalidParameters } from '../errors';
import { CUSTOM, IMAGE_NAME, ImageCatalog, TemplateRepository, type TemplateRow } from '../images';
import { canonicalPolicy } from '../network-policy';
import { Clock } from '../scheduling';
import type { Owner } from './access/container-access';
import { Capacity } from './capacity/capacity';
import {
  type PutTemplateDto,
  TEMPLATE_NAME_RULE,
  type TemplateDeletedView,
  type TemplateListView,
  templateView,
  type TemplateView,
} from './dto/templates';
import type { SnapshotRow } from './model/snapshot.entity';
import { startCommandOf } from './model/start-command';
import { engineCode } from './operations/operation-runner';
import { SnapshotAccess } from './snapshots/snapshot-access';
import { TemplateFiles } from './snapshots/template-files';
import { Specifications } from './creation/specification';

/** How often a replacement begins anew because another one came before it. */
const MOST_ATTEMPTS = 5;

type PutRequest = Readonly<PutTemplateDto>;

/** A template as answered, and whether there was none of its name. */
interface Put {
  readonly isNew: boolean;
  readonly template: TemplateView;
}

/** The files that the template was to keep were replaced meanwhile. */
class ReplacedError extends Error {
  override readonly name = 'ReplacedError';
}

/** The templates of containers, for administrators. All methods throw {@link DomainError}. */
@Injectable()
export class TemplatesService {
  constructor(
    private readonly catalog: ImageCatalog,
    private readonly templates: TemplateRepository,
    private readonly access: SnapshotAccess,
    private readonly files: TemplateFiles,
    private readonly specifications: Specifications,
    private readonly capacity: Capacity,
    private readonly clock: Clock,
  ) {}

  async list(): Promise<TemplateListView> {
    return { templates: (await this.templates.list()).map(templateView) };
  }

  /** @throws DomainError `template_not_found` */
  async get(name: string): Promise<TemplateView> {
    const template = await this.templates.find(name);
    if (template === null) throw new DomainError('template_not_found');
    return templateView(template);
  }

  /**
   * Creates or replaces a template. The files of a snapshot are copied, unless the present template has them already.
   * The files before are removed in the background, once no container is being created from them.
   *
   * @throws DomainError `invalid_parameters`, `image_name_taken` if the catalogue has an image of this name,
   *   `snapshot_not_found`, `not_authorized`, `snapshot_not_ready`, `no_capacity`, `template_failed`
   */
  async put(admin: Owner, name: string, request: PutRequest): Promise<Put> {
    if (!IMAGE_NAME.test(name)) throw invalidParameters([{ field: 'name', message: TEMPLATE_NAME_RULE }]);
    if (name === CUSTOM || this.catalog.find(name) !== undefined) throw new DomainError('image_name_taken');
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.putOnce(admin, name, request);
      } catch (error) {
        if (error instanceof EngineError) {
          throw new DomainError('template_failed', { code: engineCode(error), cause: error });
        }
        if (!(error instanceof ReplacedError) || attempt === MOST_ATTEMPTS) throw error;
      }
    }
  }

  /**
   * Deletes a template. Its files are removed in the background, once no container is being created from them.
   *
   * @throws DomainError `template_not_found`
   */
  async delete(name: string): Promise<TemplateDeletedView> {
    const deleted = await this.templates.delete(name, async ({ filesId }) => {
      if (filesId !== null) await this.files.delete(filesId);
    });
    if (deleted === null) throw new DomainError('template_not_found');
    if (deleted.filesId !== null) void this.files.remove(deleted.filesId);
    return { message: 'template deleted', name };
  }

  private async putOnce(admin: Owner, name: string, request: PutRequest): Promise<Put> {
    if (request.image !== undefined && request.snapshot !== undefined) {
      throw invalidParameters([
        { field: 'image', message: 'must not be combined with "snapshot", which has an image' },
      ]);
    }
    if (request.snapshot === undefined) {
      const image = await this.imageOf(request);
      this.specifications.assertTemplate(request, null);
      return this.write(this.rowOf(name, request, { image, files: null }));
    }
    const current = await this.templates.find(name);
    const hasData = request.data ?? false;
    const isSame = current?.filesId != null && current.snapshotId === request.snapshot && current.hasData === hasData;
    const source = await this.sourceOf(admin, request.snapshot, { current, hasData });
    this.specifications.assertTemplate(request, { ...source, dataBytes: hasData ? source.dataBytes : 0 });
    const rowWith = (files: SnapshotRow): TemplateRow => this.rowOf(name, request, { image: files.image, files });
    if (isSame && source.id === current.filesId) return this.write(rowWith(source), { keeps: current.filesId });
    await this.capacity.assertDisk(hasData ? source.dataBytes : 0);
    return this.files.copy(source, { hasData }, (files, finish) => this.write(rowWith(files), { finish }));
  }

  /** The present template's own files if they will do, as its snapshot may be deleted since. */
  private async sourceOf(
    admin: Owner,
    snapshotId: string,
    { current, hasData }: { current: TemplateRow | null; hasData: boolean },
  ): Promise<SnapshotRow> {
    const isOwn = current?.filesId != null && current.snapshotId === snapshotId;
    const files = isOwn && (current.hasData || !hasData) ? await this.files.find(current.filesId) : null;
    return files ?? this.access.findReady(admin, snapshotId);
  }

  /** @returns the reference of an image that the machine has */
  private async imageOf({ image = '', data }: PutRequest): Promise<string> {
    const reference = this.catalog.find(image)?.reference ?? image;
    const refuse = (field: string, message: string): Error => invalidParameters([{ field, message }]);
    if (image === '') throw refuse('image', 'is required without a snapshot');
    if (data === true) throw refuse('data', 'is allowed only with a snapshot');
    if (parseImageReference(reference) === null) throw refuse('image', 'must be an image reference such as tools:1');
    if (isLayerImage(reference))
      throw refuse('image', 'must not be the image of a snapshot: give the snapshot as "snapshot"');
    const present = await this.catalog.presentOf([reference]);
    if (present === null) throw new DomainError('template_failed', { code: 'docker_unavailable' });
    if (!present.has(reference)) throw refuse('image', 'must be on the machine: build or pull it first');
    return reference;
  }

  /**
   * @param options.keeps the id of the files that the present template must still have
   * @param options.finish makes new files ready
   */
  private async write(
    row: TemplateRow,
    { keeps = null, finish }: { keeps?: string | null; finish?: () => Promise<void> } = {},
  ): Promise<Put> {
    const formerFiles = (former: TemplateRow | null): string | null =>
      former === null || former.filesId === row.filesId ? null : former.filesId;
    const { written, replaced } = await this.templates.put(row, async (former) => {
      if (keeps !== null && former?.filesId !== keeps) throw new ReplacedError('the files were replaced');
      await finish?.();
      const files = formerFiles(former);
      if (files !== null) await this.files.delete(files);
    });
    const files = formerFiles(replaced);
    if (files !== null) void this.files.remove(files);
    return { isNew: replaced === null, template: templateView(written) };
  }

  private rowOf(
    name: string,
    request: PutRequest,
    { image, files }: { image: string; files: SnapshotRow | null },
  ): TemplateRow {
    const now = this.clock.now();
    return {
      name,
      version: request.version,
      description: request.description ?? null,
      image,
      snapshotId: request.snapshot ?? null,
      filesId: files?.id ?? null,
      nodeId: files?.nodeId ?? null,
      hasData: request.data ?? false,
      keptLayerMb: files?.keptLayerMb ?? 0,
      memoryMb: request.memory_mb ?? null,
      cpuShares: request.cpu_shares ?? null,
      diskMb: request.disk_mb ?? null,
      start: request.start == null ? null : startCommandOf(request.start),
      role: request.role ?? files?.role ?? null,
      network: request.network == null ? null : canonicalPolicy(request.network),
      tiers: request.tiers ?? null,
      createdAt: now,
      updatedAt: now,
    };
  }
}
