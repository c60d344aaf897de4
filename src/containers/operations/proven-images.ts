import { Injectable } from '@nestjs/common';
import type { ObservedContainer } from '../../docker';

type Proof = Pick<ObservedContainer, 'imageId' | 'runtime'>;

/** Far more than a machine has; the image that was added first is watched again. */
const MOST = 1_000;

/** Variables that the search for the main process, and its loader, go by: with one of them it may be missing in any image. */
const DECISIVE = /^(PATH|LD_.*|GLIBC_TUNABLES)$/;

/**
 * The images, each with its runtime, of which this process has seen a container go on running: their containers have all that
 * a sandbox's main process needs. Another process, or this one after a restart, watches the first of an image again.
 */
@Injectable()
export class ProvenImages {
  private readonly keys = new Set<string>();

  covers(proof: Proof, env: Readonly<Record<string, string>>): boolean {
    return !isDecisive(env) && this.keys.has(keyOf(proof));
  }

  add(proof: Proof, env: Readonly<Record<string, string>>): void {
    if (isDecisive(env)) return;
    this.keys.add(keyOf(proof));
    const [oldest] = this.keys;
    if (this.keys.size > MOST && oldest !== undefined) this.keys.delete(oldest);
  }

  /** One of its containers did not stay up. */
  forget(proof: Proof): void {
    this.keys.delete(keyOf(proof));
  }
}

function isDecisive(env: Readonly<Record<string, string>>): boolean {
  return Object.keys(env).some((name) => DECISIVE.test(name));
}

function keyOf({ imageId, runtime }: Proof): string {
  return `${runtime} ${imageId}`;
}
