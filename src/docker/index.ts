export { EngineCalls } from './client';
export {
  ContainerEngine,
  type ContainerSpec,
  type CopyProgress,
  diskUsedAbove,
  type EngineCapabilities,
  EngineError,
  type EngineErrorCode,
  type EngineEvent,
  EngineIdentity,
  type EngineImage,
  type EngineState,
  type EnsureImageOptions,
  type ExecOutput,
  type ExecRequest,
  isHalfGone,
  type ListedContainer,
  type ListedVolume,
  type MachineResources,
  type ObservedContainer,
  type OwnerLabels,
  type PullProgress,
  type VolumeCopy,
  type VolumeMeasurement,
  type WatchMessage,
} from './container-engine';
export { DockerModule } from './docker.module';
export { PROOF_CHECKS, type ProofReport, proveSandbox } from './sandbox-proof';
export { MAX_IMAGE_REFERENCE_LENGTH, parseImageReference, registryOf, versionReference } from './image-reference';
