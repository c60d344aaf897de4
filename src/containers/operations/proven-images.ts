import { Injectable } from '@nestjs/common';
import type { ObservedContainer } from '../../docker';
import { LruMap } from '../../scheduling';

type Proof = Pick<ObservedContainer, 'imageId' | 'runtime'>;

/** Maximum number of images; far more than one machine has. */
const MOST = 1_000;

/**
 * Variables that affect how the main process and its loader are found. Any image may fail to run with one of them set.
 */
const DECISIVE = /^(PATH|LD_.*|GLIBC_TUNABLES)$/;

/**
 * The images, each with its runtime, whose containers this process has seen stay up: these images have everything that
 * a sandbox's main process needs. Kept in memory only: another process, or this one after a restart, watches an image's
 * first container again.
 */
@Injectable()
export class ProvenImages {
  private readonly keys = new LruMap<true>(MOST);

  covers(proof: Proof, env: Readonly<Record<string, string>>): boolean {
    return !mayHideProgram(env) && this.keys.get(keyOf(proof)) === true;
  }

  add(proof: Proof, env: Readonly<Record<string, string>>): void {
    if (!mayHideProgram(env)) this.keys.set(keyOf(proof), true);
  }

  /** To be called if a container of the image did not stay up. */
  forget(proof: Proof): void {
    this.keys.delete(keyOf(proof));
  }
}

/** Whether these variables may prevent the start of an image that runs without them. */
export function mayHideProgram(env: Readonly<Record<string, string>>): boolean {
  return Object.keys(env).some((name) => DECISIVE.test(name));
}

function keyOf({ imageId, runtime }: Proof): string {
  return `${runtime} ${imageId}`;
}
