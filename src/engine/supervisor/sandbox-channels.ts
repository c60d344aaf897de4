import type { Channel, SupervisorRequest } from './channel';
import type { ChannelStream } from './channel-stream';

/**
 * The channels to the sandboxes' supervisors: one for each container in use. On a Swarm, a container's channel is that
 * of its node's engine.
 *
 * Errors: `container_not_found`, `container_not_running`, `container_paused`, `container_not_responding`,
 * `node_unavailable`, `docker_unavailable`, `restart_required`.
 */
export interface SandboxChannels {
  /** The channel of a running container, ready for requests; it is opened if there is none. @throws EngineError */
  of(engineId: string): Promise<Channel>;
  /**
   * Opens a stream on the container's channel. A channel is kept as long as it has streams.
   *
   * @param options.input whether the operation takes data of this side
   * @throws EngineError
   */
  open(engineId: string, request: SupervisorRequest, options?: { readonly input?: boolean }): Promise<ChannelStream>;
}
