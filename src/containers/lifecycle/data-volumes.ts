import { Inject, Injectable } from '@nestjs/common';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, EngineError, ListedVolume } from '../../docker';
import type { ContainerRow } from '../container.entity';
import { Instance } from '../instance';
import { assertDataFits } from './data-size';
import { containerName, movedVolumeName, Resources } from './plan';

/**
 * The volumes that containers' data is and was in. Where a volume keeps the size that it was made with, another size takes
 * another volume, and one that is given up may be left; elsewhere a container has one volume for ever, and nothing is asked
 * of Docker.
 */
@Injectable()
export class DataVolumes {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly instance: Instance,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /**
   * Where the data has to move to if the container gets these resources. Measures it first; it may be in use.
   *
   * @param row held by a claim
   * @returns the name of a volume that is not there yet; null where the data stays, or there is none
   * @throws DomainError `invalid_parameters` if it would not fit, EngineError
   */
  async destination(row: ContainerRow, wanted: Resources): Promise<string | null> {
    if (!this.move || row.diskMb === wanted.diskMb || row.operationId === null) return null;
    await this.ensureCopyImage();
    const volume = { name: row.volumeName, image: this.config.VOLUME_COPY_IMAGE, owner: this.instance.owner(row) };
    const data = await this.engine.measureVolume(volume);
    if (data === null) return null;
    assertDataFits(data.bytes, wanted.diskMb);
    return movedVolumeName(row, row.operationId);
  }

  /** What Docker has under a container's label, the one of the row included. @throws EngineError */
  async labelled(row: Pick<ContainerRow, 'id' | 'volumeName'>): Promise<readonly ListedVolume[]> {
    // Moved once, while volumes were replaced here.
    const moved = row.volumeName !== containerName(row.id);
    if (!this.move && !moved) return [];
    return this.engine.listVolumes({ instance: this.instance.id, containerId: row.id });
  }

  /** What Docker has of all containers. @throws EngineError */
  async all(): Promise<readonly ListedVolume[]> {
    return this.move ? this.engine.listVolumes({ instance: this.instance.id }) : [];
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
