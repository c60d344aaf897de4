export { EngineCalls } from './client';
export {
  ContainerEngine,
  isHalfGone,
  type ContainerSpec,
  type CopyProgress,
  type EngineCapabilities,
  type EngineEvent,
  type EngineState,
  type ExecOutput,
  type ExecRequest,
  type ListedContainer,
  type ListedVolume,
  type MachineResources,
  type ObservedContainer,
  type OwnerLabels,
  type PullProgress,
  type VolumeCopy,
  type VolumeMeasurement,
  type WatchMessage,
  EngineError,
  type EngineErrorCode,
} from './container-engine';
export { DockerModule } from './docker.module';
export { EngineIdentity } from './engine-identity';
export { MAX_IMAGE_REFERENCE_LENGTH, parseImageReference, registryOf } from './image-reference';
