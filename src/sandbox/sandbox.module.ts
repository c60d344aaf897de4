import { Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { ContainersModule } from '../containers';
import { EventsModule } from '../events';
import { RateLimitsModule } from '../rate-limits';
import { SecretsModule } from '../secrets';
import { TiersModule } from '../tiers';
import { CommandResponder } from './commands/command-responder';
import { CommandsController } from './commands/commands.controller';
import { Commands } from './commands/commands';
import { FileLinks, FileLinksController } from './files/file-links';
import { FilesController } from './files/files.controller';
import { FileWatches } from './files/file-watches';
import { FilesService } from './files/files.service';
import { KeptPrograms } from './programs/kept-programs';
import { PreparedContainers } from './prepared-containers';
import { RunStreams } from './access/run-streams';
import { ProcessAnswers } from './processes/process-answers';
import { BackgroundProcesses } from './processes/background-processes';
import { ProcessRetention, ProcessRows } from './processes/process-rows';
import { ProcessWatch } from './processes/process-watch';
import { ProcessesController } from './processes/processes.controller';
import { StartCommands } from './start-command/start-commands';
import { StartLedger } from './start-command/start-ledger';
import { DiskUse } from './stats/disk-use';
import { ContainerStatistics } from './stats/stats';
import { StatsHistory } from './stats/stats-history';
import { StatsStreams } from './stats/stats-streams';
import { SeveralStatsController, StatsController } from './stats/stats.controller';
import { TerminalAdmission } from './terminals/terminal-admission';
import { TerminalRights } from './terminals/terminal-rights';
import { TerminalWebSockets } from './terminals/terminal-websocket';
import { TerminalGateway } from './terminals/terminal.gateway';
import { Terminals } from './terminals/terminals';
import { TerminalsController } from './terminals/terminals.controller';

const COMMANDS = [Commands, CommandResponder];
const PROCESSES = [
  ProcessRows,
  ProcessRetention,
  ProcessWatch,
  BackgroundProcesses,
  ProcessAnswers,
  StartLedger,
  StartCommands,
];
const STATISTICS = [ContainerStatistics, DiskUse, StatsHistory, StatsStreams];
const TERMINALS = [Terminals, TerminalRights, TerminalAdmission, TerminalGateway, TerminalWebSockets];

/** Commands, processes, start commands, terminals, files and statistics inside running containers. */
@Module({
  imports: [AuditModule, AuthModule, ContainersModule, EventsModule, RateLimitsModule, SecretsModule, TiersModule],
  controllers: [
    CommandsController,
    FilesController,
    FileLinksController,
    ProcessesController,
    TerminalsController,
    StatsController,
    SeveralStatsController,
  ],
  providers: [
    KeptPrograms,
    PreparedContainers,
    FilesService,
    FileLinks,
    FileWatches,
    ...COMMANDS,
    ...PROCESSES,
    ...TERMINALS,
    ...STATISTICS,
    RunStreams,
  ],
  exports: [
    BackgroundProcesses,
    Commands,
    ContainerStatistics,
    FilesService,
    ProcessAnswers,
    RunStreams,
    StatsHistory,
    Terminals,
  ],
})
export class SandboxModule {}
