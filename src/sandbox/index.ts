export { RunEndView, type RunSource, RunStreams } from './run-streams';
export { SandboxModule } from './sandbox.module';
export { TERMINAL_CHANNELS } from './terminals/terminal-channels';
