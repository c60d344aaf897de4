import { Inject, Injectable, Logger, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { Counter } from 'prom-client';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, diskUsedAbove, EngineError, saysUnavailable } from '../../engine';
import { type ImageRecord, ImageRecords } from '../../images';
import { Clock, Poll } from '../../scheduling';
import { Metrics } from '../../metrics';
import type { NeededImages } from '../rows/container.queries';
import { ContainerRepository } from '../rows/container.repository';
import { KnownEngine } from '../nodes/known-engine';

const INTERVAL_MS = 600_000;

/** A full disk removes no image that was pulled or needed within this time: a creation may be about to use it. */
const FRESH_MS = INTERVAL_MS;

/** Why an image was removed. */
type RemovalReason = 'age' | 'disk';

/**
 * Removes the images that Berth pulled and no container needs any more: after `IMAGE_RETENTION`, or earlier, the
 * longest unused first, while the disk is fuller than `IMAGE_DISK_WATERMARK`. The watermark has no effect on a cluster,
 * where the free disk space is unknown. An image is needed while a container that was created from it exists or can be
 * restored.
 *
 * Every process does so; an image that another process has removed counts as success. A creation whose image is removed
 * between its lookup and its use pulls the image again: the row is written first, and needs the image from then on.
 */
@Injectable()
export class UnusedImages implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(UnusedImages.name);
  private readonly removals: Counter<'reason'>;
  private readonly poll = new Poll({
    everyMs: INTERVAL_MS,
    work: () => this.sweep(),
    onFault: (error) => this.logger.warn({ msg: 'removing unused images failed; it is tried again', err: error }),
  });

  constructor(
    private readonly engine: ContainerEngine,
    private readonly records: ImageRecords,
    private readonly containers: ContainerRepository,
    private readonly known: KnownEngine,
    private readonly clock: Clock,
    { registry }: Metrics,
    @Inject(CONFIG)
    private readonly config: Pick<Config, 'IMAGE_RETENTION' | 'IMAGE_DISK_WATERMARK' | 'VOLUME_COPY_IMAGE'>,
  ) {
    this.removals = new Counter({
      name: 'berth_images_removed_total',
      help: 'Unused images removed by this process, because of their age or of a full disk.',
      labelNames: ['reason'],
      registers: [registry],
    });
  }

  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.poll.stop();
  }

  /** @throws EngineError, the database's error */
  async sweep(): Promise<void> {
    // Another Docker's images are not ours to remove, and our rows do not show which of them are needed.
    if (!(await this.known.check())) return;
    const nodes = this.engine.nodes.list();
    if (nodes === null) return this.sweepNode(null);
    for (const { id, isReachable } of nodes) if (isReachable) await this.sweepNode(id);
  }

  /** @param node null: the single machine */
  private async sweepNode(node: string | null): Promise<void> {
    const engineId = (await this.engine.host.identify(node)) ?? '';
    await this.finishInterrupted(engineId, node);
    const unused = await this.unused(engineId, node);
    const retention = this.config.IMAGE_RETENTION;
    for (const record of unused) {
      if (retention !== null && this.ageOf(record) >= retention) await this.remove(record, 'age', node);
      else if (this.ageOf(record) >= FRESH_MS && (await this.isDiskFull())) await this.remove(record, 'disk', node);
    }
  }

  /** Finishes the records of pulls whose process died during the pull or right after it; forgets them after a day. */
  private async finishInterrupted(engineId: string, node: string | null): Promise<void> {
    for (const pull of await this.records.unfinished(engineId)) {
      const present = await this.engine.images.find(pull.reference, node);
      if (present !== null && present.id !== pull.previousId) {
        const { reference } = pull;
        await this.records.finish({ engineId, reference, imageId: present.id, brought: true });
      } else if (this.ageOf(pull) >= 24 * 3_600_000) await this.records.forget(pull);
    }
  }

  /** @returns the images that no row needs, the longest unused first. Marks the others as used. */
  private async unused(engineId: string, node: string | null): Promise<ImageRecord[]> {
    // Read before the rows: an image that is pulled later is not in the list, so it cannot be removed.
    const brought = await this.records.brought(engineId);
    if (brought.length === 0) return [];
    const needed = await this.containers.neededImages();
    const present = new Map<string, string | null>();
    for (const reference of new Set(brought.map((record) => record.reference))) {
      const isNamed = needed.references.has(reference) || reference === this.config.VOLUME_COPY_IMAGE;
      if (isNamed) present.set(reference, (await this.engine.images.find(reference, node))?.id ?? null);
    }
    const isNeeded = (record: ImageRecord): boolean => needsImage(needed, record, present);
    await this.records.markUsed(brought.filter(isNeeded));
    return brought.filter((record) => !isNeeded(record));
  }

  private async remove(record: ImageRecord, reason: RemovalReason, node: string | null): Promise<void> {
    const { reference, imageId } = record;
    try {
      const outcome = await this.engine.images.remove({ reference, id: imageId, node });
      if (outcome === 'in_use') {
        // A container that Berth does not manage uses the image, or one whose row does not name it.
        await this.records.markUsed([record]);
        return;
      }
      await this.records.forget(record);
      if (outcome !== 'removed') return;
      this.removals.inc({ reason });
      this.logger.log({ msg: 'removed an unused image', image: reference, image_id: imageId, reason });
    } catch (error) {
      if (!(error instanceof EngineError) || saysUnavailable(error)) throw error;
      this.logger.warn({
        msg: 'an unused image could not be removed',
        image: reference,
        image_id: imageId,
        err: error,
      });
    }
  }

  private async isDiskFull(): Promise<boolean> {
    return diskUsedAbove(await this.engine.host.resources(), this.config.IMAGE_DISK_WATERMARK) !== null;
  }

  private ageOf({ usedAt }: ImageRecord): number {
    return this.clock.now().getTime() - usedAt.getTime();
  }
}

/**
 * An image version is needed by the containers that were created from it. The version that a reference names now is
 * also needed by the rows that are being created from that reference.
 */
function needsImage(
  needed: NeededImages,
  { reference, imageId }: ImageRecord,
  present: ReadonlyMap<string, string | null>,
): boolean {
  return needed.ids.has(imageId) || present.get(reference) === imageId;
}
