// Types for `using`, also for projects that compile for ES2022.
/// <reference lib="esnext.disposable" preserve="true" />
export type * from './api-types.ts';
export { Account, Agents, type AuditOptions, Tokens } from './account.ts';
export { Admin } from './admin.ts';
export { Berth, Sandbox } from './berth.ts';
export { Code, type CodeMessage, type CodeOptions } from './code.ts';
export { needsShell, splitCommand } from './command-words.ts';
export {
  type CommandInput,
  type CommandMessage,
  type CommandOptions,
  Commands,
  type CommandStreamMessage,
  type CommandStreamOptions,
} from './commands.ts';
export type { Progress, WatchedAgent, WatchedContainer } from './container-map.ts';
export { Containers, type ListContainers, type WaitOptions } from './containers.ts';
export {
  BerthError,
  type BerthErrorCode,
  type ClientErrorCode,
  type ErrorFields,
  type FieldsOf,
  isBerthError,
  UnreachableError,
} from './errors.ts';
export {
  type BerthEvent,
  Events,
  type FollowEvents,
  type ManyStatsMessage,
  Stats,
  type StatsMessage,
} from './events.ts';
export {
  Download,
  type FileContent,
  Files,
  type FilesMessage,
  type ReadOptions,
  type WatchOptions,
  type WriteOptions,
} from './files.ts';
export type { BerthOptions, CallOptions, TokenSource } from './http.ts';
export { type Page, Pages } from './pages.ts';
export { type OutputOptions, Processes, type ProcessMessage, type ProcessOptions } from './processes.ts';
export { Ports, type PortsMessage } from './ports.ts';
export { EventParser, type ServerSentEvent } from './server-sent-events.ts';
export { type ListSnapshots, Snapshots } from './snapshots.ts';
export { Ssh } from './ssh.ts';
export {
  type Attached,
  Terminal,
  type TerminalEnd,
  type TerminalOptions,
  type TerminalProgram,
  type TerminalRole,
  Terminals,
} from './terminal.ts';
export { ContainerWatch, type WatchSnapshot } from './watch.ts';
export { type ListDeliveries, Webhooks } from './webhooks.ts';
