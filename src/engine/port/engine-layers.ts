import type { Listed } from './engine-containers';

/** What a container has written outside its volumes. */
export interface WrittenLayer {
  /** The size of the files in the layer; Docker (26.1) counts holes in full. */
  readonly bytes: number;
  /** False if only Berth and the engine have written there. */
  readonly isWritten: boolean;
  /** Whether the container's image is itself made of such a layer. */
  readonly isOnLayer: boolean;
}

/** A writable layer that is to become an image. */
export interface LayerCommit {
  readonly engineId: string;
  /** The image's name; see `snapshotImage`. An image that has the name loses it. */
  readonly reference: string;
  /**
   * The maximum size of the files in the layer, holes included: Docker (26.1) writes them as zeros. Programs may have
   * written since the layer was measured, for example when they were asked to end.
   */
  readonly mostBytes: number;
  readonly signal?: AbortSignal;
}

/** An image that was made of a writable layer. */
export interface LayerImage {
  readonly imageId: string;
  /** The disk space of the layer alone; the layers below it are shared. */
  readonly bytes: number;
  /** Whether {@link EngineLayers.flatten} would replace it. */
  readonly isDeep?: boolean;
}

/** A {@link LayerImage} as listed. */
export interface ListedLayer {
  readonly reference: string;
  readonly imageId: string;
  readonly createdAt: Date;
  /** The node of the image; null or absent on a single machine. */
  readonly node?: string | null;
}

/** The file that proves where writes outside the volumes go. */
export const PROOF_FILE = '/berth-proof';

/** The writable layers of sandboxes, as images. They hold files only, without the files of volumes. */
export interface EngineLayers {
  /**
   * Whether the files that sandboxes write outside their volumes are on the host's file system, where a commit finds
   * them. gVisor keeps them in a file of its own by default. Proved with a container of this image, once per process
   * and machine; a failure is tried again at the next call.
   *
   * @param image.name a reference or an id; the image must be present and have a shell
   * @param image.written a sandbox that has written `PROOF_FILE`, and takes the place of that container
   */
  persist(image: { name: string; node?: string | null; written?: string }): Promise<boolean>;
  /**
   * @returns null if the container's files are not on the host's file system, so that a commit would miss them
   * @throws EngineError `container_not_found`
   */
  measure(engineId: string): Promise<WrittenLayer | null>;
  /**
   * Makes an image of a container's writable layer. Nothing may write to the layer meanwhile.
   * The image has the variables, the user and the command of the container's image, and none of the container's labels.
   * If the answer is lost or aborted, the engine may still make the image.
   *
   * @throws EngineError `container_not_found`, `container_not_running` if it is neither paused nor stopped,
   *   `data_too_large`, `aborted`
   */
  commit(commit: LayerCommit): Promise<LayerImage>;
  /**
   * Replaces an image with nearly as many layers as the engine allows by one of its name with a single layer. Takes
   * as long as reading and writing the whole image.
   *
   * @returns null if the image has few layers; it is left as it is
   * @throws EngineError `image_not_found`, `aborted`; the image is as before then
   */
  flatten(image: Omit<LayerCommit, 'engineId' | 'mostBytes'> & { node?: string | null }): Promise<LayerImage | null>;
  /** Lists the images that {@link commit} made for an instance. On a cluster: of all nodes. */
  list(filter: { instance: string; node?: string | null }): Promise<Listed<ListedLayer>>;
}
