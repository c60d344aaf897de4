import { Injectable } from '@nestjs/common';
import { ContainerEngine, isBuiltHere } from '../../engine';
import { DomainError, invalidParameters } from '../../errors';
import { CUSTOM, ImageCatalog, permits, TemplateRepository, type TemplateRow } from '../../images';
import { IdempotencyKeys, type OnceOnly } from '../../idempotency';
import type { Caller } from '../access/container-access';
import type { CreateContainerDto } from '../dto/requests';
import type { SnapshotRow } from '../model/snapshot.entity';
import { SnapshotRepository } from '../rows/snapshot.repository';
import { SnapshotAccess } from '../snapshots/snapshot-access';

/** What a container is to be made from, unless an image of the catalogue or of the user is all. */
export interface Origins {
  /** The snapshot, or the template's files. */
  readonly origin: SnapshotRow | null;
  readonly template: TemplateRow | null;
}

const NONE: Origins = { origin: null, template: null };

/** Finds the snapshots and templates that creations name. */
@Injectable()
export class OriginLookup {
  constructor(
    private readonly catalog: ImageCatalog,
    private readonly templates: TemplateRepository,
    private readonly snapshots: SnapshotRepository,
    private readonly access: SnapshotAccess,
    private readonly engine: ContainerEngine,
    private readonly keys: IdempotencyKeys,
  ) {}

  /**
   * Refuses a user's own image of which its registry says that there is none. While the registry does not answer, the
   * image may exist, and its pull decides.
   *
   * @param image its reference, which the catalogue allows
   * @param once a creation that was accepted before is not refused
   * @throws DomainError `invalid_parameters`
   */
  async assertOwnImage(image: string, { userId, once }: { userId: string; once: OnceOnly | null }): Promise<void> {
    // An image that is built on the machine is in no registry.
    if (isBuiltHere(image)) return;
    const isAbsent = await this.engine.images.isAbsent(image).catch(() => false);
    if (!isAbsent || (await this.keys.earlier(userId, once)) !== null) return;
    throw invalidParameters([{ field: 'custom_image', message: `is in no registry: ${image}` }]);
  }

  /**
   * An image of the catalogue takes precedence over a template of its name. A template that the tier does not permit is
   * as unknown as one that does not exist.
   *
   * @throws DomainError `invalid_parameters` if the user's own image is a template's; `snapshot_not_found`,
   *   `not_authorized`, `snapshot_not_ready`, `node_unavailable`
   */
  async of(caller: Caller, request: Readonly<CreateContainerDto>): Promise<Origins> {
    const { image, custom_image: custom, snapshot } = request;
    if (snapshot != null) return { origin: await this.access.findReady(caller, snapshot), template: null };
    if (custom != null) {
      if (!this.catalog.has(custom) && (await this.templates.ownsImage(custom))) {
        throw invalidParameters([
          { field: 'custom_image', message: "must not be the image of a template: give the template's name" },
        ]);
      }
      return NONE;
    }
    if (image === undefined || image === CUSTOM || this.catalog.find(image) !== undefined) return NONE;
    const template = await this.templates.find(image);
    if (template === null || !permits(template, caller.tier)) return NONE;
    return { template, origin: template.filesId === null ? null : await this.filesOf(template.filesId) };
  }

  private async filesOf(id: string): Promise<SnapshotRow> {
    const files = await this.snapshots.find(id);
    // The template was replaced meanwhile.
    if (files === null) throw new DomainError('snapshot_not_found');
    this.access.assertUsable(files);
    return files;
  }
}
