import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, EngineError, type ExecOutput } from '../../docker';
import { LOGGER } from '../../logging';
import {
  type CatalogRole,
  endCommand,
  INSTALL_EXIT,
  installCommand,
  InstallOutput,
  probeCommand,
  RoleCatalog,
  type RoleCommand,
} from '../../roles';
import type { RoleClaim } from './role-claim';
import { roleProgress } from './role-events';
import { RoleProgress } from './role-progress';

/** How an attempt ended. */
export type RoleOutcome =
  | { readonly kind: 'installed' }
  | { readonly kind: 'failed'; readonly message: string; readonly output: string }
  /** The installation was killed in the container, or the container ended under it. */
  | { readonly kind: 'cut'; readonly output: string }
  /** It could not even begin, or is not wanted at the moment. */
  | { readonly kind: 'later'; readonly cause: unknown };

/** For what takes a moment: looking for programs, ending an installation. */
const SHORT_MS = 60_000;

/** Beyond what a program chooses by itself; the runtimes say so of one that is not there. */
const NOT_RUNNABLE: readonly number[] = [126, 127];
const KILLED_FROM = 128;

/** Brings a container's role about by commands in it, once: looks whether it is there already, installs it, looks again. */
@Injectable()
export class RoleInstallation {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly catalog: RoleCatalog,
    @Inject(CONFIG) private readonly config: Pick<Config, 'ROLE_INSTALL_TIMEOUT'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @param stopped aborted when this process goes. @throws RoleClaimLostError, and what the database throws */
  async attempt(claim: RoleClaim, stopped: AbortSignal): Promise<RoleOutcome> {
    const role = this.catalog.find(claim.row.role ?? '');
    if (!role) return failed('the role is no longer offered');
    const run = new Run(claim, this.engine, stopped);
    try {
      if ((await run.missing(role)).length === 0) return { kind: 'installed' };
    } catch (error) {
      // Whatever it is, nothing has begun.
      if (error instanceof EngineError) return { kind: 'later', cause: error };
      throw error;
    }
    return this.install(role, run);
  }

  private async install(role: CatalogRole, run: Run): Promise<RoleOutcome> {
    const { claim } = run;
    const progress = new RoleProgress(async (each) => {
      await claim
        .tell((row) => roleProgress(row, each))
        .catch((error: unknown) =>
          this.logger.warn({ err: error, container_id: claim.row.id }, 'progress could not be told'),
        );
    });
    progress.report({ percent: 0, message: 'preparing the installation' });
    const output = new InstallOutput(Object.values(claim.row.env), progress.report);
    try {
      const exitCode = await run.exec(installCommand(role, claim.attempt), {
        timeoutMs: this.config.ROLE_INSTALL_TIMEOUT,
        onOutput: (part) => output.take(part),
      });
      return await this.outcomeOf(exitCode, { role, run, output: output.toString() });
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      return await this.outcomeOfFault(error, { run, output: output.toString() });
    } finally {
      await progress.close();
    }
  }

  private async outcomeOf(
    exitCode: number,
    { role, run, output }: { role: CatalogRole; run: Run; output: string },
  ): Promise<RoleOutcome> {
    if (exitCode === INSTALL_EXIT.noPackageManager) return failed('the image has no apt, apk or dnf to install with');
    if (exitCode === INSTALL_EXIT.noPackages) return failed("the role has no packages for the image's distribution");
    if (NOT_RUNNABLE.includes(exitCode)) return failed('the image has no shell to install with', output);
    if (exitCode >= KILLED_FROM) return { kind: 'cut', output };
    if (exitCode !== 0) return failed('the packages could not be installed', output);
    const missing = await run.missing(role);
    if (missing.length === 0) return { kind: 'installed' };
    return failed(`the packages are installed, but there is no ${missing.join(', ')}`, output);
  }

  private async outcomeOfFault(
    error: EngineError,
    { run, output }: { run: Run; output: string },
  ): Promise<RoleOutcome> {
    if (error.code === 'timed_out') {
      // Where even this fails, the next attempt ends what is left of this one.
      await run.exec(endCommand(), { timeoutMs: SHORT_MS }).catch(() => undefined);
      const seconds = Math.round(this.config.ROLE_INSTALL_TIMEOUT / 1000);
      return failed(`the installation did not end within ${String(seconds)} s`, output);
    }
    const ended = error.code === 'container_not_running' || error.code === 'container_not_found';
    return ended ? { kind: 'cut', output } : { kind: 'later', cause: error };
  }
}

/** Commands in the container of a claim, each only while the claim holds. */
class Run {
  constructor(
    readonly claim: RoleClaim,
    private readonly engine: ContainerEngine,
    private readonly stopped: AbortSignal,
  ) {}

  /** @returns the exit code. @throws EngineError, RoleClaimLostError */
  async exec(
    { command, env }: RoleCommand,
    options: { timeoutMs: number; onOutput?: (output: ExecOutput) => void },
  ): Promise<number> {
    this.claim.assertHeld();
    const signal = AbortSignal.any([this.claim.signal, this.stopped]);
    const dockerId = this.claim.row.dockerId ?? '';
    const { exitCode } = await this.engine.exec(dockerId, { command, env, user: '0', signal, ...options });
    return exitCode;
  }

  /** The programs that the role is known by and that are not there; a word in their place where that cannot be told. */
  async missing(role: CatalogRole): Promise<string[]> {
    const found: Buffer[] = [];
    const onOutput = ({ stream, data }: ExecOutput): void => {
      if (stream === 'stdout') found.push(data);
    };
    const exitCode = await this.exec(probeCommand(role), { timeoutMs: SHORT_MS, onOutput });
    if (exitCode === 0) return [];
    const names = Buffer.concat(found).toString().split('\n');
    const known = role.probe.filter((program) => names.includes(program));
    return known.length > 0 ? known : ['working installation'];
  }
}

function failed(message: string, output = ''): RoleOutcome {
  return { kind: 'failed', message, output };
}
