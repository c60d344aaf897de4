import { Injectable } from '@nestjs/common';
import type { ObservedContainer } from '../../engine';
import { LruMap } from '../../scheduling';

type Proof = Pick<ObservedContainer, 'imageId' | 'runtime'>;

/** Maximum number of images; far more than one machine has. */
const MOST = 1_000;

/**
 * The images, each with its runtime, whose containers this process has seen stay up: these images have everything that
 * a sandbox's main process needs. Kept in memory only: another process, or this one after a restart, watches an image's
 * first container again.
 */
@Injectable()
export class ProvenImages {
  private readonly keys = new LruMap<true>(MOST);

  covers(proof: Proof): boolean {
    return this.keys.get(keyOf(proof)) === true;
  }

  add(proof: Proof): void {
    this.keys.set(keyOf(proof), true);
  }

  /** To be called if a container of the image did not stay up. */
  forget(proof: Proof): void {
    this.keys.delete(keyOf(proof));
  }
}

function keyOf({ imageId, runtime }: Proof): string {
  return `${runtime} ${imageId}`;
}
