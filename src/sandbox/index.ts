export { RunEndView, type RunSource, RunStreams } from './access/run-streams';
export { ApiInside, failedAs, portFault, RESUMING } from './access/inside-errors';
export { BackgroundProcesses, type FoundProcess } from './processes/background-processes';
export { processView } from './processes/dto';
export { ProcessAnswers } from './processes/process-answers';
export { SandboxModule } from './sandbox.module';
export { type CommandClient, Commands } from './commands/commands';
export { ContainerPath } from './files/container-path';
export { FilesService, type UploadBody } from './files/files.service';
export { ContainerStatistics } from './stats/stats';
export { StatsHistory } from './stats/stats-history';
export { COMMAND_TIMEOUT_MS, CommandFailureView, CommandOutputView, RunCommandDto } from './commands/dto';
export type { TerminalExit } from './terminals/attachment';
export { TERMINAL_CHANNELS } from './terminals/terminal-channels';
export {
  type CloseReason,
  MAX_INPUT_BYTES,
  type TerminalCodec,
  TerminalConnection,
} from './terminals/terminal-connection';
export { Terminals } from './terminals/terminals';
