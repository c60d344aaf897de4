import { Inject, Injectable, Logger, ServiceUnavailableException } from '@nestjs/common';
import {
  HealthCheckResult,
  HealthCheckService,
  type HealthIndicatorFunction,
  type HealthIndicatorResult,
  HealthIndicatorService,
} from '@nestjs/terminus';
import { type Config, CONFIG } from '../config';
import { Database } from '../database';
import { ContainerEngine, diskUsedAbove, EngineIdentity } from '../engine';
import { databaseFault } from '../errors';
import { acceptsAnyHost } from '../http';
import { within } from '../scheduling';
import { RedisConnection } from '../signals';

/** Time limit for the answer of a dependency, in milliseconds. */
const PATIENCE = 2_000;

interface Dependency {
  readonly ping: () => Promise<void>;
  /** Makes the error of an answer that is too late. */
  readonly late?: () => Error;
}

interface Readiness {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, 'up' | 'down'>>;
  /** Why a dependency is down: `unavailable`, or the code with which requests are answered. */
  readonly reasons: Readonly<Record<string, string>>;
  /** The runtime of sandboxes; null until the engine was asked. */
  readonly runtime: string | null;
  /** Whether the kernel enforces containers' disk sizes; null until the engine was asked. */
  readonly disk_quota: string | null;
  /** Whether sandboxes are isolated from their host by a firewall; null until the engine was asked. */
  readonly host_firewall: string | null;
  /** Whether allow lists can be enforced; null until the engine was asked. */
  readonly allow_lists: string | null;
  /** Whether this is the Docker that holds the containers; null until it was checked. */
  readonly docker_identity: 'same' | 'changed' | null;
  /** Whether requests are served under any host name, or only under addresses and {@link Config.ALLOWED_HOSTS}. */
  readonly hosts: 'any' | 'listed';
  /** The result of the sandbox test at start; null if there is none. */
  readonly sandbox_proof: 'proving' | 'proved' | 'failed' | 'unproved' | null;
  /** What a sandbox uses while no program runs in it; null if it was not measured. */
  readonly idle_sandbox: { readonly cpu_shares: number; readonly advice: string | null } | null;
  /** The disk of Docker's data, in MiB; null if unknown. */
  readonly disk: { readonly total_mb: number; readonly free_mb: number } | null;
  /** Messages for the operator. */
  readonly notices: readonly string[];
}

const NOTICE_OF_CHANGE =
  'This Docker daemon is not the one that holds the containers and volumes. Purges are held, and missing ' +
  'containers are not recreated. If its data-root or DOCKER_HOST is wrong, correct it: Berth then continues ' +
  'automatically. If the change is intended, an administrator accepts it: POST /api/admin/docker/accept.';

const NOTICE_OF_SIMULATION =
  'Containers are only simulated (ENGINE=simulated): their states, events and files exist only in memory, and no ' +
  'programs run in them. Use this only to develop software that uses Berth, where Docker is unavailable.';

/** @returns null below the watermark, or if there is none */
function noticeOfDisk({ total_mb, free_mb }: NonNullable<Readiness['disk']>, watermark: number): string | null {
  const used = diskUsedAbove({ diskMb: total_mb, freeDiskMb: free_mb }, watermark);
  if (used === null) return null;
  return (
    `The disk of Docker's data is ${String(Math.floor(used))} % full (IMAGE_DISK_WATERMARK is ${String(watermark)}). ` +
    'Unused images are removed automatically. If that is not enough, free or add disk space: on a full disk, no ' +
    'containers can be created, and programs in containers cannot write.'
  );
}

/** Millicores from which an idle sandbox is worth an advice: 1 % of a core. */
const COSTLY_SHARES = 10;

/** The advice is no notice: a sandbox that wakes too often serves as well as others. */
function idleSandbox(shares: number | null): Readiness['idle_sandbox'] {
  if (shares === null) return null;
  const advice =
    `An idle sandbox uses ${(shares / 10).toFixed(1)} % of a CPU core. gVisor releases before June 2026 wake up constantly: ` +
    'install a current release, or let Berth stop idle containers (IDLE_STOP_AFTER).';
  return { cpu_shares: shares, advice: shares >= COSTLY_SHARES ? advice : null };
}

/** Checks all dependencies of the server. */
@Injectable()
export class ReadinessCheck {
  private readonly logger = new Logger(ReadinessCheck.name);
  private running: Promise<Readiness> | null = null;

  constructor(
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
    private readonly database: Database,
    private readonly engine: ContainerEngine,
    private readonly identity: EngineIdentity,
    @Inject(RedisConnection) private readonly redis: RedisConnection | null,
    @Inject(CONFIG) private readonly config: Pick<Config, 'ALLOWED_HOSTS' | 'ENGINE' | 'HOST' | 'IMAGE_DISK_WATERMARK'>,
  ) {}

  /** Concurrent calls share one check, so that many probes cost no more than one. */
  run(): Promise<Readiness> {
    this.running ??= this.ask().finally(() => (this.running = null));
    return this.running;
  }

  private async ask(): Promise<Readiness> {
    const { redis } = this;
    const result = await this.check([
      this.indicator('database', {
        ping: () => this.database.checkWrites(),
        late: () => this.database.unanswered(),
      }),
      this.indicator('docker', { ping: () => this.engine.host.ping() }),
      ...(redis ? [this.indicator('redis', { ping: () => redis.ping() })] : []),
    ]);
    const details = Object.entries(result.details);
    const checks = details.map(([name, { status }]) => [name, status] as const);
    const reasons = details.flatMap(([name, { reason }]) => (typeof reason === 'string' ? [[name, reason]] : []));
    const { state, proof, nodes, idleCpuShares } = this.identity;
    const report = typeof proof === 'object' ? proof : null;
    const disk = await this.disk();
    const isSimulated = this.config.ENGINE === 'simulated';
    const full = disk && noticeOfDisk(disk, this.config.IMAGE_DISK_WATERMARK);
    return {
      ready: result.status === 'ok',
      checks: Object.fromEntries(checks),
      reasons: Object.fromEntries(reasons) as Record<string, string>,
      ...this.found(),
      hosts: acceptsAnyHost(this.config) ? 'any' : 'listed',
      docker_identity: state === 'unknown' ? null : state,
      sandbox_proof: report?.state ?? (proof === 'proving' ? proof : null),
      idle_sandbox: idleSandbox(idleCpuShares),
      disk,
      notices: [isSimulated ? NOTICE_OF_SIMULATION : null, state === 'changed' ? NOTICE_OF_CHANGE : null, full]
        .concat(Object.values(report?.faults ?? {}), nodes)
        .filter((notice) => notice !== null),
    };
  }

  private async disk(): Promise<Readiness['disk']> {
    const resources = await within(this.engine.host.resources(), { ms: PATIENCE }).catch(() => null);
    const { diskMb = null, freeDiskMb = null } = resources ?? {};
    return diskMb === null || freeDiskMb === null ? null : { total_mb: diskMb, free_mb: freeDiskMb };
  }

  private indicator(name: string, { ping, late }: Dependency): HealthIndicatorFunction {
    return async (): Promise<HealthIndicatorResult> => {
      const session = this.indicators.check(name);
      try {
        await within(ping(), late ? { ms: PATIENCE, late } : { ms: PATIENCE });
        return session.up();
      } catch (error) {
        this.logger.warn({ msg: 'a readiness check failed', check: name, err: error });
        return session.down({ reason: reasonOf(error) });
      }
    };
  }

  /** Terminus throws its result if a check failed. */
  private async check(indicators: HealthIndicatorFunction[]): Promise<HealthCheckResult> {
    try {
      return await this.health.check(indicators);
    } catch (error) {
      if (error instanceof ServiceUnavailableException) return error.getResponse() as HealthCheckResult;
      throw error;
    }
  }

  private found(): Pick<Readiness, 'runtime' | 'disk_quota' | 'host_firewall' | 'allow_lists'> {
    try {
      const { runtime, diskQuota, hostFirewall, allowLists } = this.engine.host.capabilities;
      return { runtime, disk_quota: diskQuota, host_firewall: hostFirewall, allow_lists: allowLists };
    } catch {
      return { runtime: null, disk_quota: null, host_firewall: null, allow_lists: null };
    }
  }
}

/** Docker and Redis have no more specific reasons. */
function reasonOf(error: unknown): string {
  const kind = databaseFault(error)?.kind;
  return kind === undefined || kind === 'database_unavailable' ? 'unavailable' : kind;
}
