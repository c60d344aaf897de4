import type { EngineCapabilities } from '../../src/docker';
import type { EngineHost } from '../../src/docker/port/engine-host';
import { DockerEngine } from '../../src/docker/docker-engine';

/**
 * Real Docker that pretends to enforce disk quotas: data is moved for a resize, but Docker is not given options that
 * it does not support.
 */
export class MovingEngine extends DockerEngine {
  constructor(...settings: ConstructorParameters<typeof DockerEngine>) {
    super(...settings);
    const { host } = this;
    const moving = (): EngineCapabilities => ({ ...host.capabilities, volumeResize: 'move' });
    // The parts of the engine keep the real host.
    const value: EngineHost = {
      get capabilities() {
        return moving();
      },
      prepare: (instance) => host.prepare(instance).then(moving),
      maintain: () => host.maintain(),
      ping: () => host.ping(),
      identify: () => host.identify(),
      resources: () => host.resources(),
    };
    Object.defineProperty(this, 'host', { value });
  }
}
