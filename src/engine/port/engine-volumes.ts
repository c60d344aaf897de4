import type { Listed, ListFilter, OwnerLabels } from './engine-containers';

/** A volume that is to exist. */
export interface WantedVolume {
  readonly name: string;
  readonly diskMb: number;
  readonly owner: OwnerLabels;
  readonly node?: string | null;
  /** The volume cannot exist yet, so the engine is not asked. */
  readonly isNew?: boolean;
}

/** A data volume as listed. */
export interface ListedVolume {
  readonly name: string;
  /** From the labels, or from the name if there are none; null if they are not readable, or no longer. */
  readonly containerId: string | null;
  /** The snapshot that the volume belongs to instead of a container; null or absent if there is none. */
  readonly snapshotId?: string | null;
  /** False if the volume is known only by its name: the engine has lost its labels and options, including the size. */
  readonly labelled: boolean;
  /** The node of the volume; null or absent on a single machine. */
  readonly node?: string | null;
}

/** A volume to measure. */
export interface VolumeMeasurement {
  readonly name: string;
  /** An image with GNU tar and coreutils, for an engine that works in a container; must be present already. */
  readonly image: string;
  readonly owner: OwnerLabels;
  readonly node?: string | null;
}

/** A copy of the data from one volume to another. Meanwhile nothing may write to either volume. */
export interface VolumeCopy {
  readonly from: string;
  /** Must exist; its contents are removed first. */
  readonly to: string;
  /** An image with GNU tar and coreutils, for an engine that works in a container; must be present already. */
  readonly image: string;
  readonly owner: OwnerLabels;
  /** The node of both volumes, or of the source. */
  readonly node?: string | null;
  /** The node of the target, if it is another one. */
  readonly toNode?: string;
  readonly onProgress?: (progress: CopyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface CopyProgress {
  /** 0 to 100; never decreases. */
  readonly percent: number;
  /** A sentence for users, without the engine's own wording. */
  readonly message: string;
}

/** The data volumes of sandboxes. */
export interface EngineVolumes {
  /**
   * Ensures that the volume exists. If Docker crashes while creating a volume, it leaves an unlabelled, empty volume
   * that no container uses: such a volume is created again, with its size. A volume with data is kept as it is.
   *
   * @returns whether the volume existed before
   * @throws EngineError `docker_error` if it belongs to another container
   */
  ensure(volume: WantedVolume): Promise<{ existed: boolean }>;
  /** Already gone is success. */
  remove(name: string, node?: string | null): Promise<void>;
  /**
   * Lists the volumes of an instance, or of one of its containers, in use or not. Unlabelled volumes are found by
   * name, so they may be another instance's: the instance with the row owns them.
   */
  list(filter: ListFilter): Promise<Listed<ListedVolume>>;
  /**
   * The disk space that a volume's data uses, in bytes. The volume may be in use.
   *
   * @returns null if there is no such volume
   */
  measure(volume: VolumeMeasurement): Promise<{ bytes: number } | null>;
  /**
   * Copies a volume with all file attributes, and compares the copy with its source before returning. On a file system
   * with reflinks (XFS, btrfs) the copy shares the blocks of its source until one of them is written.
   *
   * @returns the disk space that the copy's data takes, also if it is shared, and then `isReflink`
   * @throws EngineError `data_too_large` if the target is full, `copy_failed`, `aborted`; the target is then unusable
   */
  copy(copy: VolumeCopy): Promise<{ bytes: number; isReflink?: boolean }>;
}
