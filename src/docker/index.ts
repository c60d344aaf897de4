export { ContainerEngine } from './container-engine';
export type {
  ContainerSpec,
  EngineCapabilities,
  EngineEvent,
  EngineState,
  ListedContainer,
  ObservedContainer,
  OwnerLabels,
  PullProgress,
  WatchMessage,
} from './container-engine';
export { DockerModule } from './docker.module';
export { EngineError } from './engine-error';
export type { EngineErrorCode } from './engine-error';
export { MAX_IMAGE_REFERENCE_LENGTH, parseImageReference } from './image-reference';
export type { ImageReference } from './image-reference';
