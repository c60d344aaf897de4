import type { EngineCapabilities } from '../../../src/docker';
import { DockerEngine } from '../../../src/docker/docker-engine';

/**
 * Real Docker that is taken for one that keeps disk quotas: data is moved, and Docker is not asked for what it cannot
 * do.
 */
export class MovingEngine extends DockerEngine {
  override get capabilities(): EngineCapabilities {
    return { ...super.capabilities, volumeResize: 'move' };
  }
}
