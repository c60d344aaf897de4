import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { noteProgram } from '../../audit';
import { type Caller, ContainersService } from '../../containers';
import { ContainerEngine, endOf, saysNotRunning, type SignalName } from '../../docker';
import { DomainError } from '../../errors';
import type { ProcessFacts } from '../../events';
import { LOGGER } from '../../logging';
import { Clock } from '../../scheduling';
import { endInContainer, HeldProgramEntity, ProgramRegistry, markedBy, type ProgramKind } from '../program-registry';
import { BackgroundProcess, KeptProcesses, type ProcessEnd } from './background-process';
import { toDomainError } from '../program-errors';
import { ExecAccess } from '../exec-access';

/** A process to start. */
interface ProcessStart {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly string[];
  readonly cwd?: string | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly user?: string | undefined;
  readonly terminal: boolean;
}

/** A process held by this Berth process, or, with its registry row only, by another one. */
export type FoundProcess = { readonly kept: BackgroundProcess } | { readonly entry: HeldProgramEntity };

const AT_ONCE = { count: 16, error: 'process_limit_reached' } as const;

/** The size of a process's terminal, which nobody looks at. */
const SIZE = { columns: 80, rows: 24 } as const;

/** Between SIGTERM and SIGKILL. */
const GRACE_MS = 5_000;

/** How long to wait until a killed process is seen to have ended. */
const SEEN_WITHIN_MS = 2_000;

/** Start commands are listed as processes too; `StartCommands` starts and watches them. */
const KINDS: readonly ProgramKind[] = ['process', 'start'];

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Processes in containers that outlive the requests that start them. The Berth process that starts one holds it: it
 * reads the output and reports the end. The processes of a dead Berth process are killed by the next one, and reported
 * as lost.
 */
@Injectable()
export class BackgroundProcesses implements OnModuleDestroy {
  private readonly processes = new KeptProcesses();
  private closing = false;

  constructor(
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    private readonly programs: ProgramRegistry,
    private readonly rights: ExecAccess,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    programs.onLost('process', (entry) => ({ type: 'process_lost', data: processFacts(entry) }));
  }

  get isClosing(): boolean {
    return this.closing;
  }

  /**
   * The rows stay, so that the next Berth process kills the programs. Clients that follow an output are disconnected,
   * and can come back.
   */
  onModuleDestroy(): void {
    this.closing = true;
    for (const kept of this.processes.all()) {
      kept.program.close();
      kept.wake();
    }
  }

  /** @throws DomainError `container_not_running`, `command_not_started`, `process_limit_reached`, `command_failed` */
  async start(caller: Caller, id: string, request: ProcessStart): Promise<BackgroundProcess> {
    const { command, cwd, env, user, terminal } = request;
    noteProgram(command);
    return this.containers.inside(caller, id, async (container) => {
      const { entry, program } = await this.programs
        .start(container, {
          kind: 'process',
          limit: AT_ONCE,
          command,
          stdin: true,
          cwd,
          env,
          user,
          terminal: terminal ? SIZE : undefined,
        })
        .catch((error: unknown) => {
          throw toDomainError(error);
        });
      const kept = new BackgroundProcess(entry, program, command);
      const reading = kept.readOutput();
      try {
        await this.programs.emit(entry, { type: 'process_started', data: processFacts(entry) });
      } catch (error) {
        this.programs.abandon(entry);
        throw error;
      }
      this.keep(kept);
      void this.watch(kept, reading);
      return kept;
    });
  }

  /** Keeps a started process, and ends it if its user loses exec access. {@link finish} has to follow. */
  keep(kept: BackgroundProcess): void {
    this.processes.add(kept);
    this.endWithRight(kept);
  }

  /** Notes the end of a process, and wakes the clients that follow its output. */
  finish(kept: BackgroundProcess, end: Omit<ProcessEnd, 'at'>): void {
    kept.finish({ ...end, at: this.clock.now() });
    this.processes.noteEnd(kept);
  }

  /** The running processes of all Berth processes, and those that ended in this one lately; oldest first. */
  async list(caller: Caller, id: string): Promise<FoundProcess[]> {
    const { id: containerId } = await this.containers.enter(caller, id);
    const kept = this.processes.of(containerId);
    const known = new Set(kept.map(({ entry }) => entry.id));
    const entries = await this.programs.listOf(containerId, ...KINDS);
    const found: FoundProcess[] = [
      ...kept.map((each) => ({ kept: each })),
      ...entries.filter((entry) => !known.has(entry.id) && !this.programs.isOwn(entry)).map((entry) => ({ entry })),
    ];
    return found.sort((a, b) => entryOf(a).startedAt.getTime() - entryOf(b).startedAt.getTime());
  }

  /** @throws DomainError `process_not_found` */
  async find(caller: Caller, id: string, processId: string): Promise<FoundProcess> {
    const { id: containerId } = await this.containers.enter(caller, id);
    const kept = this.processes.get(containerId, processId);
    if (kept) return { kept };
    const entry = UUID.test(processId) ? await this.programs.find(containerId, processId) : null;
    if (!entry || !KINDS.includes(entry.kind)) throw new DomainError('process_not_found');
    return { entry };
  }

  /**
   * Finds a process whose streams are needed.
   *
   * @throws DomainError `process_not_found`, `held_elsewhere`; as {@link ContainersService.resumed} if `toUse`
   */
  async findHere(
    caller: Caller,
    id: string,
    processId: string,
    { toUse = false }: { toUse?: boolean } = {},
  ): Promise<BackgroundProcess> {
    const found = await (toUse ? this.findToUse(caller, id, processId) : this.find(caller, id, processId));
    if (!('kept' in found)) throw new DomainError('held_elsewhere');
    return found.kept;
  }

  /**
   * Sends a signal to a process and all that it started.
   *
   * @throws DomainError as {@link ContainersService.resumed}; `process_not_found`, `process_ended`,
   *   `command_not_started`, `command_failed`
   */
  async signal(caller: Caller, id: string, processId: string, signal: SignalName): Promise<void> {
    const found = await this.findToUse(caller, id, processId);
    if ('kept' in found && found.kept.end !== null) throw new DomainError('process_ended');
    const entry = entryOf(found);
    const sent = await this.engine.programs
      .signal(entry.dockerId, { ...markedBy(entry), signal })
      .catch((error: unknown) => {
        if (saysNotRunning(error)) return 'none' as const;
        throw toDomainError(error);
      });
    if (sent === 'none') throw new DomainError('process_ended');
  }

  /**
   * Ends a process with all that it started, or forgets one that has ended.
   *
   * @throws DomainError as {@link ContainersService.resumed}; `process_not_found`, `command_not_started`,
   *   `command_failed`
   */
  async end(caller: Caller, id: string, processId: string): Promise<void> {
    const found = await this.findToUse(caller, id, processId);
    const kept = 'kept' in found ? found.kept : null;
    if (kept && kept.end !== null) {
      this.processes.forget(kept);
      return;
    }
    if (kept) kept.isEndWanted = true;
    const entry = entryOf(found);
    const ended = await this.engine.programs
      .end(entry.dockerId, { ...markedBy(entry), signal: 'TERM', graceMs: GRACE_MS })
      .catch((error: unknown) => {
        if (saysNotRunning(error)) return 'ended' as const;
        throw toDomainError(error);
      });
    if (ended !== 'ended') throw new DomainError('command_failed', { code: 'process_not_ended' });
    await kept?.ended(SEEN_WITHIN_MS);
  }

  /** Finds a process to act upon. If it has not ended, its container is resumed first. */
  private async findToUse(caller: Caller, id: string, processId: string): Promise<FoundProcess> {
    const found = await this.find(caller, id, processId);
    if (!('kept' in found) || found.kept.end === null) await this.containers.resumed(caller, id);
    return found;
  }

  /** Ends the process if its user's tier loses exec access, and retries while it runs. */
  private endWithRight(kept: BackgroundProcess): void {
    const { entry } = kept;
    const unwatch = this.rights.watchTier(entry.userId, () => {
      kept.isEndWanted = true;
      endInContainer(this.engine, entry, GRACE_MS).catch((error: unknown) =>
        this.logger.warn({ err: error, container_id: entry.containerId }, 'a process could not be ended; tried again'),
      );
    });
    kept.onEnd(unwatch);
  }

  private async watch(kept: BackgroundProcess, reading: Promise<void>): Promise<void> {
    await reading.catch((error: unknown) => this.logger.error({ err: error }, 'an output could not be read'));
    if (this.closing) return;
    const { entry } = kept;
    const { reason, exitCode } = await this.endOf(kept);
    this.finish(kept, { reason, exitCode });
    const event = { type: 'process_exited', data: { ...processFacts(entry), exit_code: exitCode, reason } } as const;
    if (reason === 'lost') this.programs.abandon(entry);
    else this.programs.release(entry, { event });
  }

  private async endOf({ entry, program, isEndWanted }: BackgroundProcess): Promise<Omit<ProcessEnd, 'at'>> {
    const end = await endOf(program);
    if (end.kind === 'exited') return { reason: isEndWanted ? 'ended' : 'exited', exitCode: end.code };
    if (end.kind === 'container_ended') return { reason: 'container_stopped', exitCode: null };
    this.logger.warn({ err: end.cause, container_id: entry.containerId }, 'a process was lost with its connection');
    return { reason: 'lost', exitCode: null };
  }
}

function entryOf(found: FoundProcess): HeldProgramEntity {
  return 'kept' in found ? found.kept.entry : found.entry;
}

/** A process, as events show it. */
export function processFacts({ id, containerId, program, kind }: HeldProgramEntity): ProcessFacts {
  const facts = { id, container_id: containerId, program };
  return kind === 'start' ? { ...facts, start: true } : facts;
}
