export interface PullProgress {
  /** 0 to 100; never decreases. */
  readonly percent: number;
  /** A sentence for users, without the engine's own wording. */
  readonly message: string;
}

/** An image in the engine. */
export interface EngineImage {
  /** Identifies exactly this version, even if its reference names another one later. */
  readonly id: string;
  /**
   * The digest of this version in its registry; null if it was never pulled from, or pushed to, the reference's
   * repository.
   */
  readonly digest: string | null;
}

/** Options for {@link EngineImages.ensure}. */
export interface EnsureImageOptions {
  /** Asks the registry for a newer version even if one is present. */
  readonly refresh?: boolean;
  /** The node that needs the image; null or absent on a single machine, and on a cluster for all reachable nodes. */
  readonly node?: string | null;
  /** Awaited before a pull begins; gets the present version. If it rejects, there is no pull. */
  readonly beforePull?: (present: EngineImage | null) => Promise<void>;
  readonly onProgress?: (progress: PullProgress) => void;
  readonly signal?: AbortSignal;
}

/** The images that sandboxes are created from. */
export interface EngineImages {
  /**
   * Ensures that the image is present, and pulls it if it is missing; any number of callers share one pull. An image
   * that is built here (`berth/…`) is never pulled.
   *
   * @returns the image that the reference names now
   * @throws EngineError `image_not_found`, `image_not_built`, `image_access_denied`, `image_unavailable`, `aborted`
   */
  ensure(reference: string, options?: EnsureImageOptions): Promise<EngineImage>;
  /**
   * Whether the image is neither present nor in its registry. Waits for the registry for a moment only.
   *
   * @returns false also if the registry does not answer or refuses: it may have the image
   * @throws EngineError
   */
  isAbsent(reference: string): Promise<boolean>;
  /**
   * @param name a reference or an image id
   * @returns null if there is no such image
   */
  find(name: string, node?: string | null): Promise<EngineImage | null>;
  /**
   * Gives an image one more name. An image that has the name loses it.
   *
   * @throws EngineError `image_not_found`
   */
  tag(image: { id: string; reference: string; node?: string | null }): Promise<void>;
  /**
   * Removes the reference from the image, and removes the image if it has no other name.
   *
   * @returns `in_use` if a container, running or not, or another image needs it; `kept` if the reference no longer
   *   names this image, and the image has another name
   */
  remove(image: {
    reference: string;
    id: string;
    node?: string | null;
  }): Promise<'removed' | 'in_use' | 'kept' | 'gone'>;
  /** @returns the references that are present on every node where a sandbox may be created */
  present(references: readonly string[]): Promise<ReadonlySet<string>>;
}
