import type { EngineCapabilities } from '../../../src/docker';
import { DockerEngine } from '../../../src/docker/docker-engine';

/**
 * Real Docker that pretends to enforce disk quotas: data is moved for a resize, but Docker is not given options that
 * it does not support.
 */
export class MovingEngine extends DockerEngine {
  override get capabilities(): EngineCapabilities {
    return { ...super.capabilities, volumeResize: 'move' };
  }
}
