import type { Duplex } from 'node:stream';

/** A TCP port on which a program in a container listens. */
export interface ListeningPort {
  readonly port: number;
  /** The addresses that the program listens on, such as `0.0.0.0` or `127.0.0.1`; sorted. */
  readonly addresses: readonly string[];
}

/** The TCP ports of containers. Nothing else can be reached through them: no other container, no host. */
export interface EnginePorts {
  /**
   * Connects to a port of a running container: at the container's own address if this process shares the network of
   * the container's machine, otherwise, and if nothing listens there, at the container's loopback interface.
   *
   * @param port 1 to 65535
   * @returns the connection; it ends with the container's run at the latest if the engine notices that end
   * @throws EngineError `port_closed` if nothing listens on the port, `restart_required` if only the supervisor could
   *   reach it and there is none, `container_not_found`, `container_not_running`, `container_paused`,
   *   `container_not_responding`
   */
  connect(engineId: string, port: number): Promise<Duplex>;
  /**
   * Lists the ports on which programs in a running container listen, in ascending order: at most 256, the lowest.
   *
   * @throws EngineError as {@link EnginePrograms.run} does
   */
  listening(engineId: string): Promise<ListeningPort[]>;
}
