import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, EngineError, ListedVolume } from '../../docker';
import { invalidParameters } from '../../errors';
import { LOGGER } from '../../logging';
import type { ContainerRow } from '../container.entity';
import { Instance } from '../instance';
import { containerName, movedVolumeName, Resources } from './plan';

const MIB = 1024 * 1024;

/**
 * Beside the data a volume needs room for what the file system writes about it (a copy can take a little more than its
 * source), and for the container to start and write a log before its user can tidy up.
 */
const MARGIN = { share: 0.05, leastMb: 16 };

/** The least size, in MiB, of a volume that data of so many bytes may move to. */
export function leastDiskMb(bytes: number): number {
  const dataMb = bytes / MIB;
  return Math.ceil(dataMb + Math.max(dataMb * MARGIN.share, MARGIN.leastMb));
}

/** @throws DomainError `invalid_parameters` that names `disk_mb` and the least that will do */
export function assertDataFits(bytes: number, diskMb: number): void {
  const min = leastDiskMb(bytes);
  if (diskMb >= min) return;
  const message = `must be at least ${String(min)} for the ${String(Math.ceil(bytes / MIB))} MiB of data in the container`;
  throw invalidParameters([{ field: 'disk_mb', message, min }]);
}

const NOT_MOVED = 'the data stays in a volume without labels and without a size, as it cannot be moved';

/**
 * The volumes that containers' data is and was in. Where a volume keeps the size that it was made with, another size takes
 * another volume, and one that is given up may be left; elsewhere a container has one volume for ever, and nothing is asked
 * of Docker.
 */
@Injectable()
export class DataVolumes {
  private readonly overfull = new Set<string>();

  constructor(
    private readonly engine: ContainerEngine,
    private readonly instance: Instance,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Where the data has to move to if the container gets these resources. Measures it first; it may be in use.
   *
   * @param row held by a lease
   * @returns the name of a volume that is not there yet; null where the data stays, or there is none
   * @throws DomainError `invalid_parameters` if it would not fit, EngineError
   */
  async destination(row: ContainerRow, wanted: Resources): Promise<string | null> {
    if (!this.move || row.operationId === null) return null;
    if (row.diskMb === wanted.diskMb) {
      // Nobody asked for this move: that it cannot be made must not fail what was.
      return this.destinationOfUnlabelled(row).catch((error: unknown) => {
        this.logger.warn({ err: error, container_id: row.id, volume: row.volumeName }, NOT_MOVED);
        return null;
      });
    }
    const bytes = await this.measure(row);
    if (bytes === null) return null;
    assertDataFits(bytes, wanted.diskMb);
    return movedVolumeName(row, row.operationId);
  }

  /** What Docker has of a container by label and by name, the one of the row included. @throws EngineError */
  async ofContainer(row: Pick<ContainerRow, 'id' | 'volumeName'>): Promise<readonly ListedVolume[]> {
    // Moved once, while volumes were replaced here.
    const moved = row.volumeName !== containerName(row.id);
    if (!this.move && !moved) return [];
    return this.engine.listVolumes({ instance: this.instance.id, containerId: row.id });
  }

  /** What Docker has of all containers. @throws EngineError */
  async all(): Promise<readonly ListedVolume[]> {
    return this.move ? this.engine.listVolumes({ instance: this.instance.id }) : [];
  }

  /** Volumes without labels whose data is more than they should hold, as this process has found out: it stays there. */
  get stuck(): ReadonlySet<string> {
    return this.overfull;
  }

  /**
   * Where the data has to move to because Docker has lost the labels of its volume, and with them the size.
   *
   * @param row held by a lease
   * @returns null where the data stays
   * @throws DomainError `invalid_parameters` if it would not fit, EngineError
   */
  async destinationOfUnlabelled(row: ContainerRow): Promise<string | null> {
    if (!this.move || row.operationId === null) return null;
    const volume = (await this.ofContainer(row)).find(({ name }) => name === row.volumeName);
    if (volume?.labelled !== false) return null;
    const bytes = await this.measure(row);
    if (bytes === null) return null;
    try {
      assertDataFits(bytes, row.diskMb);
    } catch (error) {
      this.overfull.add(row.volumeName);
      throw error;
    }
    return movedVolumeName(row, row.operationId);
  }

  /** @returns null if there is no data */
  private async measure(row: ContainerRow): Promise<number | null> {
    await this.ensureCopyImage();
    const volume = { name: row.volumeName, image: this.config.VOLUME_COPY_IMAGE, owner: this.instance.owner(row) };
    return (await this.engine.measureVolume(volume))?.bytes ?? null;
  }

  private get move(): boolean {
    return this.engine.capabilities.volumeResize === 'move';
  }

  /** An image of the operator's: that it is missing must not be told as if the user's were. */
  private async ensureCopyImage(): Promise<void> {
    try {
      await this.engine.ensureImage(this.config.VOLUME_COPY_IMAGE);
    } catch (error) {
      if (!(error instanceof EngineError) || error.code === 'docker_unavailable') throw error;
      throw new EngineError('docker_error', `VOLUME_COPY_IMAGE cannot be had: ${error.message}`, { cause: error });
    }
  }
}
