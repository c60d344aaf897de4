export { ContainerEngine } from './port/container-engine';
export type {
  ContainerSpec,
  EngineContainers,
  EngineNetworks,
  Listed,
  ListFilter,
  OwnerLabels,
} from './port/engine-containers';
export {
  type AttributeChange,
  type ChangeDecision,
  type EngineFiles,
  FILE_TYPE,
  type FileAttributes,
  type FileChange,
  type FileContent,
  type FilesCall,
  type FileSearch,
  type FileState,
  type FileSystemSpace,
  type FoundFile,
  modeText,
  type OpenFile,
} from './port/engine-files';
export { diskUsedAbove, type EngineCapabilities, type EngineHost, type MachineResources } from './port/engine-host';
export type { EngineImage, EngineImages, EnsureImageOptions, PullProgress } from './port/engine-images';
export {
  type EngineLayers,
  type LayerCommit,
  type LayerImage,
  type ListedLayer,
  PROOF_FILE,
  type WrittenLayer,
} from './port/engine-layers';
export {
  containerFields,
  type EngineNode,
  type EngineNodes,
  type LayerCopy,
  nodeName,
  SINGLE_MACHINE,
} from './port/engine-nodes';
export type { EnginePorts, ListeningPort } from './port/engine-ports';
export type { EnginePrograms } from './port/engine-programs';
export type {
  CopyProgress,
  EngineVolumes,
  ListedVolume,
  VolumeCopy,
  VolumeMeasurement,
  WantedVolume,
} from './port/engine-volumes';
export {
  type ContainerProcess,
  type ExecOutput,
  type ExecRequest,
  type ListedProgram,
  type ProcessRequest,
  type ProgramAttachment,
  type ProgramExit,
  type ProgramSignal,
  type SignalName,
  SIGNALS,
  type TerminalSize,
  wasKilled,
} from './port/container-process';
export {
  type ContainerStats,
  type EngineEvent,
  type EngineState,
  type ListedContainer,
  type ObservedContainer,
  type WatchMessage,
  type WatchSubject,
} from './port/observed-container';
export { nodeOf, plainId, qualifiedId } from './port/container-ids';
export {
  EngineError,
  type EngineErrorCode,
  type FileErrorCode,
  imageNotBuilt,
  isFileError,
  mayGoOn,
  nodeUnavailable,
  saysNotRunning,
  saysPaused,
  saysUnavailable,
} from './port/engine-error';
export {
  containerOfLayer,
  DOCKER_HUB,
  familiarRepository,
  isBuiltHere,
  isLayerImage,
  isSnapshotImage,
  layerImage,
  MAX_IMAGE_REFERENCE_LENGTH,
  parseImageReference,
  registryOf,
  snapshotImage,
  versionReference,
} from './port/image-reference';
export { runProgram } from './programs/run-program';
export { endOf } from './programs/program-end';
export { LOGIN_SHELL } from './programs/login-shell';
export {
  CONNECT,
  DATA_PATH,
  INIT,
  KEEP_HOME,
  NAME_SERVERS_FILE,
  SESSION_VARIABLE,
  SUPERVISOR_PATH,
} from './supervisor/supervisor-paths';
export { FRAME, frameHead, PROTOCOL } from './supervisor/frames';
export { Channel, type ChannelConnection, type SupervisorRequest } from './supervisor/channel';
export { ChannelStream } from './supervisor/channel-stream';
export type { SandboxChannels } from './supervisor/sandbox-channels';
export { ChannelPrograms } from './supervisor/channel-programs';
export { connectInside, listListeningPorts } from './supervisor/channel-ports';
export { SupervisedFiles } from './supervisor/supervised-files';
export { type EndedCall, EngineCalls } from './engine-calls';
export { EngineIdentity } from './engine-identity';
export { readNameServers } from './name-servers';
export { PROOF_CHECKS, type ProofReport, proveSandbox } from './sandbox-proof';
