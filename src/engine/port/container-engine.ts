import type { EngineContainers, EngineNetworks } from './engine-containers';
import type { EngineFiles } from './engine-files';
import type { EngineHost } from './engine-host';
import type { EngineImages } from './engine-images';
import type { EngineLayers } from './engine-layers';
import type { EngineNodes } from './engine-nodes';
import type { EnginePorts } from './engine-ports';
import type { EnginePrograms } from './engine-programs';
import type { EngineVolumes } from './engine-volumes';

/**
 * The port to the container engine. It knows no entities, tiers or users. Code outside the engines must not assume that
 * there is one daemon or that a volume is local. Ids are opaque; on a cluster, a container's id includes its
 * node (see `container-ids.ts`). Every method of its parts has a time limit, throws only `EngineError` (and
 * {@link EngineHost.prepare} `ConfigError`), and is safe to repeat. A call that concerns a node that does not answer
 * throws `node_unavailable`.
 */
export abstract class ContainerEngine {
  abstract readonly host: EngineHost;
  abstract readonly nodes: EngineNodes;
  abstract readonly containers: EngineContainers;
  abstract readonly networks: EngineNetworks;
  abstract readonly programs: EnginePrograms;
  abstract readonly ports: EnginePorts;
  abstract readonly files: EngineFiles;
  abstract readonly images: EngineImages;
  abstract readonly layers: EngineLayers;
  abstract readonly volumes: EngineVolumes;
}
