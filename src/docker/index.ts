export {
  ContainerEngine,
  type ContainerSpec,
  type CopyProgress,
  diskUsedAbove,
  type EngineCapabilities,
  type EngineImage,
  type EngineNode,
  type EnsureImageOptions,
  type Listed,
  type ListedVolume,
  type ListFilter,
  type MachineResources,
  type OwnerLabels,
  type PullProgress,
  type VolumeCopy,
  type VolumeMeasurement,
} from './container-engine';
export {
  type ContainerProcess,
  type ExecOutput,
  type ExecRequest,
  flowOf,
  KILLED,
  type MarkedProcesses,
  type OutputFlow,
  type ProcessRequest,
  type SignalName,
  SIGNALS,
  type TerminalSize,
} from './programs/container-process';
export { nodeOf, plainId, qualifiedId } from './container-ids';
export {
  EngineError,
  imageNotBuilt,
  type EngineErrorCode,
  mayGoOn,
  nodeUnavailable,
  saysDiskFull,
  saysNotRunning,
  saysUnavailable,
} from './engine-error';
export { EngineIdentity } from './engine-identity';
export {
  type ContainerStats,
  type EngineEvent,
  type EngineState,
  isHalfGone,
  type ListedContainer,
  type ObservedContainer,
  type WatchMessage,
} from './containers/observed-container';
export { EngineCalls } from './connection/daemon';
export type { VolumeDigest, VolumeWork } from './volumes/volume-copy';
export type { TransferringEngine } from './volumes/volume-transfer';
export { DockerModule } from './docker.module';
export { DATA_PATH } from './containers/supervisor';
export { PROOF_CHECKS, type ProofReport, proveSandbox } from './containers/sandbox-proof';
export {
  MAX_IMAGE_REFERENCE_LENGTH,
  parseImageReference,
  registryOf,
  isBuiltHere,
  versionReference,
} from './images/image-reference';
