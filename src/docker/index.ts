export { ContainerEngine, isHalfGone } from './container-engine';
export type {
  ContainerSpec,
  CopyProgress,
  EngineCapabilities,
  EngineEvent,
  EngineState,
  ExecOutput,
  ExecRequest,
  ListedContainer,
  ListedVolume,
  ObservedContainer,
  OwnerLabels,
  PullProgress,
  VolumeCopy,
  VolumeMeasurement,
  WatchMessage,
} from './container-engine';
export { DockerModule } from './docker.module';
export { EngineCalls } from './engine-calls';
export { EngineIdentity } from './engine-identity';
export { EngineError } from './engine-error';
export type { EngineErrorCode } from './engine-error';
export { MAX_IMAGE_REFERENCE_LENGTH, parseImageReference, registryOf } from './image-reference';
export type { ImageReference } from './image-reference';
