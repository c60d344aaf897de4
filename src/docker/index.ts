export { ContainerEngine } from './container-engine';
export type { ContainerSpec, Listed, OwnerLabels } from './port/engine-containers';
export {
  type AttributeChange,
  type ChangeDecision,
  type EngineFiles,
  FILE_TYPE,
  type FileAttributes,
  type FileContent,
  type FilesCall,
  type FileState,
  type FoundFile,
  modeText,
  type OpenFile,
} from './port/engine-files';
export { diskUsedAbove, type EngineCapabilities } from './port/engine-host';
export type { EngineImage, EnsureImageOptions, PullProgress } from './port/engine-images';
export type { LayerImage, ListedLayer, WrittenLayer } from './port/engine-layers';
export { containerFields, type EngineNode, nodeName } from './port/engine-nodes';
export type { EnginePorts, ListeningPort } from './port/engine-ports';
export type { CopyProgress, ListedVolume, VolumeCopy } from './port/engine-volumes';
export {
  type ContainerProcess,
  type ExecOutput,
  type ExecRequest,
  type ListedProgram,
  type ProcessRequest,
  type ProgramExit,
  type ProgramSignal,
  type SignalName,
  SIGNALS,
  type TerminalSize,
  wasKilled,
} from './port/container-process';
export { endOf } from './programs/program-end';
export { LOGIN_SHELL } from './programs/login-shell';
export { nodeOf, plainId } from './container-ids';
export {
  EngineError,
  imageNotBuilt,
  isFileError,
  type EngineErrorCode,
  mayGoOn,
  nodeUnavailable,
  saysDiskFull,
  saysNotRunning,
  saysPaused,
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
  type WatchSubject,
} from './port/observed-container';
export { DATA_PATH } from './supervisor/supervisor-paths';
export { EngineCalls } from './engine-calls';
export { DockerModule } from './docker.module';
export { PROOF_CHECKS, type ProofReport, proveSandbox } from './containers/sandbox-proof';
export {
  familiarRepository,
  MAX_IMAGE_REFERENCE_LENGTH,
  parseImageReference,
  registryOf,
  isBuiltHere,
  isLayerImage,
  isSnapshotImage,
  containerOfLayer,
  layerImage,
  snapshotImage,
  versionReference,
} from './images/image-reference';
