import { Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, EngineError, type ExecRequest, wasKilled } from '../../engine';
import type { EventDraft } from '../../events';
import { LOGGER } from '../../logging';
import {
  type CatalogRole,
  INSTALL_EXIT,
  installCommand,
  InstallOutput,
  type InstallProgress,
  probeCommand,
  RoleCatalog,
  type RoleCommand,
} from '../../roles';
import { Throttle } from '../../scheduling';
import { ContainerUsage } from '../access/container-usage';
import { containerFacts, type ContainerRow } from '../model/container.entity';
import { Environments } from '../rows/environments';
import type { RoleLease } from './role.repository';

const STAGE = 'role';

/** The programs of all attempts have ids that begin with this. */
const ROLE_PROGRAM = 'role-';
/** Between SIGTERM and SIGKILL of an earlier attempt. */
const GRACE_MS = 5_000;

function roleProgress(row: ContainerRow, { percent, message }: InstallProgress): EventDraft {
  return { type: 'container_progress', data: { ...containerFacts(row), stage: STAGE, message, progress: percent } };
}

export function roleInstalled(row: ContainerRow): EventDraft {
  return roleProgress(row, { percent: 100, message: 'the role is installed' });
}

/** The container itself keeps running. @param output the end of the installation's output; may be empty */
export function roleFailed(row: ContainerRow, { message, output }: { message: string; output: string }): EventDraft {
  const data = { ...containerFacts(row), reason: 'role_failed', message, ...(output !== '' && { output }) };
  return { type: 'container_error', data };
}

/** The minimum interval between progress events. */
const EMIT_EVERY_MS = 500;

/** Emits an installation's progress: in order, throttled, and without repetition. */
class RoleProgress {
  private last: Promise<void> = Promise.resolve();
  private emitting = false;
  private emitted = -1;
  private readonly throttle = new Throttle(EMIT_EVERY_MS);
  private closed = false;

  /** @param emit must not throw */
  constructor(private readonly emit: (progress: InstallProgress) => Promise<void>) {}

  readonly report = (progress: InstallProgress): void => {
    if (this.closed || this.emitting || progress.percent <= this.emitted || !this.throttle.passes()) return;
    this.emitted = progress.percent;
    this.emitting = true;
    this.last = this.emit(progress).finally(() => (this.emitting = false));
  };

  /** Later reports are dropped. Resolves when all earlier ones have been emitted. */
  async close(): Promise<void> {
    this.closed = true;
    await this.last;
  }
}

/** The role cannot be installed in this container. */
interface Failed {
  readonly kind: 'failed';
  readonly message: string;
  /** The end of the installation's output; may be empty. */
  readonly output: string;
  /** A command in the container writes without end; only stopping the container ends it. */
  readonly isEndless?: boolean;
}

/** How an attempt ended. */
export type RoleOutcome =
  | { readonly kind: 'installed' }
  | Failed
  /** The installation was killed in the container, or the container ended under it. */
  | { readonly kind: 'cut'; readonly output: string; readonly message?: string }
  /** The installation could not start, or must wait. */
  | { readonly kind: 'later'; readonly cause: unknown };

/** The timeout of short commands, which check for programs. */
const SHORT_MS = 60_000;

/** The probe prints one program name per line. */
const PROBE_OUTPUT_BYTES = 64 * 1024;
/** Only the end of the output is kept; the rest costs only the time to read it. Package managers write far less. */
const INSTALL_OUTPUT_BYTES = 16 * 1024 * 1024;

const NO_SHELL = 'the image has no shell to install with';
const ENDLESS = "the image's shell produces endless output";
const SILENT = "the image's shell does not respond";

/** Makes one attempt to install a container's role by exec: checks whether it is present, installs it, checks again. */
@Injectable()
export class RoleInstallation {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly catalog: RoleCatalog,
    private readonly usage: ContainerUsage,
    private readonly environments: Environments,
    @Inject(CONFIG) private readonly config: Pick<Config, 'ROLE_INSTALL_TIMEOUT'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @param stopped aborted when this process shuts down. @throws LeaseLostError, and the database's error */
  async attempt(lease: RoleLease, stopped: AbortSignal): Promise<RoleOutcome> {
    const role = this.catalog.find(lease.row.role ?? '');
    if (!role) return failed('the role is no longer available');
    const run = new Run(lease, this.engine, { stopped, variables: this.environments.open(lease.row) });
    // Counts as use, so that an idle stop does not interrupt it.
    const leave = await this.usage.begin(lease.row);
    let outcome: RoleOutcome;
    try {
      outcome = await this.tryOnce(role, run);
    } finally {
      await leave();
    }
    // If the container was stopped or replaced meanwhile, any command in it may have failed, with any message.
    if (outcome.kind === 'failed' && !(await run.isStillTheSame())) return LATER;
    return outcome;
  }

  /** Stops a container in which a command writes without end. @throws EngineError */
  async endContainer(engineId: string): Promise<void> {
    await this.engine.containers.stop(engineId, 0);
  }

  private async tryOnce(role: CatalogRole, run: Run): Promise<RoleOutcome> {
    try {
      const isThere = (await run.missing(role)).length === 0;
      // An attempt that still runs may have unpacked the programs, and not yet configured them.
      const wasRunning = await run.endEarlier();
      if (isThere && !wasRunning) return { kind: 'installed' };
    } catch (error) {
      if (error instanceof EngineError) return outcomeOfProbe(error);
      throw error;
    }
    return this.install(role, run);
  }

  private async install(role: CatalogRole, run: Run): Promise<RoleOutcome> {
    const { lease } = run;
    const progress = new RoleProgress(async (each) => {
      await lease
        .emit((row) => roleProgress(row, each))
        .catch((error: unknown) =>
          this.logger.warn({ err: error, container_id: lease.row.id }, 'progress could not be emitted'),
        );
    });
    progress.report({ percent: 0, message: 'preparing the installation' });
    const output = new InstallOutput(Object.values(run.variables), progress.report);
    try {
      const exitCode = await run.exec(installCommand(role), {
        timeoutMs: this.config.ROLE_INSTALL_TIMEOUT,
        maxOutputBytes: INSTALL_OUTPUT_BYTES,
        onOutput: (part) => output.take(part),
      });
      return await this.outcomeOf(exitCode, { role, run, output: output.toString() });
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      return this.outcomeOfFault(error, output.toString());
    } finally {
      await progress.close();
    }
  }

  private async outcomeOf(
    exitCode: number,
    { role, run, output }: { role: CatalogRole; run: Run; output: string },
  ): Promise<RoleOutcome> {
    if (exitCode === INSTALL_EXIT.noPackageManager) return failed('the image has none of apt, apk and dnf');
    if (exitCode === INSTALL_EXIT.noPackages) return failed("the role has no packages for the image's distribution");
    if (wasKilled(exitCode)) return { kind: 'cut', output };
    if (exitCode !== 0) return failed('the packages could not be installed', output);
    const missing = await run.missing(role);
    if (missing.length === 0) return { kind: 'installed' };
    return failed(`the packages are installed, but these programs are missing: ${missing.join(', ')}`, output);
  }

  private outcomeOfFault(error: EngineError, output: string): RoleOutcome {
    switch (error.code) {
      case 'timed_out': {
        const seconds = Math.round(this.config.ROLE_INSTALL_TIMEOUT / 1000);
        return failed(`the installation did not finish within ${String(seconds)} s`, output);
      }
      case 'command_not_started':
        return failed(NO_SHELL);
      case 'output_too_large':
        return failed('the installation produced endless output', output);
      case 'output_endless':
        return { ...failed('the installation produced endless output', output), isEndless: true };
      case 'container_not_running':
      case 'container_not_found':
        return { kind: 'cut', output };
      default:
        return { kind: 'later', cause: error };
    }
  }
}

/** The outcome if nothing has been installed: the probe failed, or an earlier attempt could not be ended. */
function outcomeOfProbe(error: EngineError): RoleOutcome {
  switch (error.code) {
    case 'command_not_started':
      return failed(NO_SHELL);
    case 'output_too_large':
      return failed(ENDLESS);
    case 'output_endless':
      return { ...failed(`${ENDLESS}; the container was stopped to end it`), isEndless: true };
    case 'timed_out':
      return { kind: 'cut', output: '', message: SILENT };
    default:
      return { kind: 'later', cause: error };
  }
}

/** Runs commands in the leased container, each only while the lease holds. */
class Run {
  constructor(
    readonly lease: RoleLease,
    private readonly engine: ContainerEngine,
    private readonly options: {
      readonly stopped: AbortSignal;
      /** The user's environment variables of the container. */
      readonly variables: Readonly<Record<string, string>>;
    },
  ) {}

  get variables(): Readonly<Record<string, string>> {
    return this.options.variables;
  }

  /**
   * Runs a command as root, without the user's variables, many of which change what a package manager does.
   *
   * @returns the exit code
   * @throws EngineError, LeaseLostError
   */
  async exec(
    { command, env }: RoleCommand,
    options: Pick<ExecRequest, 'timeoutMs' | 'maxOutputBytes' | 'onOutput'>,
  ): Promise<number> {
    await this.lease.assertHeld();
    const signal = AbortSignal.any([this.lease.signal, this.options.stopped]);
    const request: ExecRequest = {
      command,
      env,
      user: '0',
      id: `${ROLE_PROGRAM}${randomUUID()}`,
      signal,
      ...options,
    };
    const { exitCode } = await this.engine.programs.run(this.engineId, request);
    return exitCode;
  }

  /**
   * Ends earlier attempts that still run in the container, because their process died or lost its lease.
   *
   * @returns whether there were any
   * @throws EngineError, LeaseLostError
   */
  async endEarlier(): Promise<boolean> {
    await this.lease.assertHeld();
    const programs = await this.engine.programs.list(this.engineId);
    const earlier = programs.filter(({ id, exit }) => id.startsWith(ROLE_PROGRAM) && exit === null);
    const end = { user: '0', signal: 'TERM', graceMs: GRACE_MS } as const;
    await Promise.all(earlier.map(({ id }) => this.engine.programs.end(this.engineId, { id, ...end })));
    return earlier.length > 0;
  }

  /** Whether the leased container is running, and has not been restarted since the row was read. */
  async isStillTheSame(): Promise<boolean> {
    const { runStartedAt } = this.lease.row;
    try {
      const observed = await this.engine.containers.inspect(this.engineId);
      if (observed?.state !== 'running') return false;
      return runStartedAt === null || observed.startedAt === runStartedAt;
    } catch (error) {
      if (error instanceof EngineError) return false;
      throw error;
    }
  }

  /** The role's programs that are missing; a placeholder if that cannot be determined. */
  async missing(role: CatalogRole): Promise<string[]> {
    const found: Buffer[] = [];
    const exitCode = await this.exec(probeCommand(role), {
      timeoutMs: SHORT_MS,
      maxOutputBytes: PROBE_OUTPUT_BYTES,
      onOutput: ({ stream, data }) => {
        if (stream === 'stdout') found.push(data);
      },
    });
    if (exitCode === 0) return [];
    const names = Buffer.concat(found).toString().split('\n');
    const known = role.probe.filter((program) => names.includes(program));
    return known.length > 0 ? known : ['working installation'];
  }

  private get engineId(): string {
    return this.lease.row.engineId ?? '';
  }
}

const LATER: RoleOutcome = { kind: 'later', cause: 'the container was stopped or replaced meanwhile' };

function failed(message: string, output = ''): Failed {
  return { kind: 'failed', message, output };
}
