import { randomUUID } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { ContainerEngine } from './port/container-engine';
import type { ContainerSpec } from './port/engine-containers';
import { EngineError } from './port/engine-error';
import { PROOF_FILE } from './port/engine-layers';
import type { ContainerStats } from './port/observed-container';
import { nameServersIn } from './name-servers';
import { DATA_PATH } from './supervisor/supervisor-paths';

/** The properties that a sandbox is tested for. */
export const PROOF_CHECKS = ['start', 'names', 'home', 'memory', 'end', 'writes', 'layer', 'processes'] as const;

type ProofCheck = (typeof PROOF_CHECKS)[number];

/** The result of testing one sandbox. */
export interface ProofReport {
  /**
   * `failed`: a property of sandboxes is missing. `unproved`: the sandbox could not be tested, or only in part, and
   * no fault is known.
   */
  readonly state: 'proved' | 'failed' | 'unproved';
  /** What failed, and what an operator can do about it. */
  readonly faults: Readonly<Partial<Record<ProofCheck, string>>>;
  /** Why tests could not be made; for the log. */
  readonly untried: readonly string[];
  /** The share of one core that the sandbox used while no program ran in it, never a fault; null: not measured. */
  readonly idleCores: number | null;
}

/** A host name reserved for such purposes (RFC 2606). */
const NAME = 'example.com';
/** A user other than root, who need not exist in the image. */
const USER = '1000';
const MEMORY_MB = 128;
const PROCESSES = 32;
const GRACE_SECONDS = 10;

const KEEP_LAYERS = "add --overlay2=none to the runtimeArgs of runsc in Docker's daemon.json and restart Docker";

const COMMAND_MS = 30_000;
const ASKING_MS = 3_000;
const IDLE_MS = 1_000;
const IDLE_SAMPLES = 3;
const MAX_OUTPUT_BYTES = 64 * 1024;

/**
 * Creates one sandbox like any other, on the sandboxes' network, tests the properties that users rely on, and removes
 * it. If this process dies, {@link EngineHost.removeProbes} removes the leftovers. Never throws.
 *
 * @param options.image must be present
 * @param options.node on a cluster, the node to test; null on a single machine
 */
export async function proveSandbox(engine: ContainerEngine, options: ProofOptions): Promise<ProofReport> {
  const proof = new Proof(engine, options);
  try {
    return await proof.run();
  } catch (error) {
    return proof.reportOf(error);
  } finally {
    await proof.removeSandbox();
  }
}

interface ProofOptions {
  readonly instance: string;
  /** This process: see {@link EngineHost.prepare}. */
  readonly process: string;
  readonly image: string;
  readonly signal: AbortSignal;
  readonly node?: string | null;
}

class Proof {
  private readonly faults: Partial<Record<ProofCheck, string>> = {};
  private readonly untried: string[] = [];
  private idleCores: number | null = null;
  private readonly spec: ContainerSpec;
  private engineId: string | null = null;

  constructor(
    private readonly engine: ContainerEngine,
    private readonly options: ProofOptions,
  ) {
    const id = randomUUID();
    this.spec = {
      name: `berth-proof-${id}`,
      image: options.image,
      user: USER,
      memoryMb: MEMORY_MB,
      cpuShares: 1000,
      diskMb: 64,
      network: 'internet',
      processes: PROCESSES,
      volumeName: `berth-proof-${id}`,
      owner: { instance: options.instance, containerId: id, userId: id, probeOf: options.process },
      generation: 1,
      node: options.node ?? null,
    };
  }

  /** @throws EngineError if the test cannot continue */
  async run(): Promise<ProofReport> {
    await this.start();
    await this.names();
    await this.home();
    await this.memory();
    await this.idle();
    await this.end();
    await this.processes();
    return this.report();
  }

  reportOf(error: unknown): ProofReport {
    const code = error instanceof EngineError ? error.code : 'docker_error';
    const words = error instanceof Error ? error.message : String(error);
    if (this.engineId === null && code === 'start_refused') this.faults.start = `no sandbox can be started: ${words}`;
    else this.untried.push(words);
    return this.report();
  }

  async removeSandbox(): Promise<void> {
    // `maintain()` removes what cannot be removed now.
    if (this.engineId !== null) await this.engine.containers.remove(this.engineId).catch(() => undefined);
    const { volumeName, node = null } = this.spec;
    await this.engine.volumes.remove(volumeName, node).catch(() => undefined);
  }

  private report(): ProofReport {
    const { faults, untried, idleCores } = this;
    const state = Object.keys(faults).length > 0 ? 'failed' : untried.length > 0 ? 'unproved' : 'proved';
    return { state, faults, untried, idleCores };
  }

  private async start(): Promise<void> {
    const { volumeName: name, diskMb, owner, node = null } = this.spec;
    await this.engine.volumes.ensure({ name, diskMb, owner, node });
    this.engineId = await this.engine.containers.create(this.spec);
    await this.engine.containers.start(this.engineId, { isNew: true });
  }

  /**
   * Checks DNS. If no name server answers the sandbox, that is a fault; if they answer but do not know `NAME`, it is
   * not.
   */
  private async names(): Promise<void> {
    const { exitCode } = await this.shell(`getent hosts ${NAME} || nslookup ${NAME}`);
    if (exitCode === 0) return;
    const servers = nameServersIn((await this.shell('cat /etc/resolv.conf')).output);
    const ofHost = servers.filter((server) => !server.startsWith('127.'));
    const words = `sandboxes resolve no names; they ask ${servers.join(', ') || 'nobody'}`;
    if (ofHost.length === 0) {
      this.faults.names = `${words}, which gVisor's own network stack does not reach: set SANDBOX_DNS`;
      return;
    }
    switch (await ask(ofHost)) {
      case 'known':
        this.faults.names =
          `${words}, which answer this machine: let the sandboxes' network reach their port 53, ` +
          'or set SANDBOX_DNS to others';
        return;
      case 'silent':
        this.faults.names = `${words}, which do not answer this machine either: set SANDBOX_DNS to some that do`;
        return;
      case 'unknown':
        this.untried.push(`the name servers (${ofHost.join(', ')}) know no ${NAME}, so names were not tried`);
    }
  }

  private async home(): Promise<void> {
    const { exitCode } = await this.shell(`echo written >${DATA_PATH}/written`, { user: USER });
    if (exitCode !== 0) this.faults.home = `user ${USER} cannot write to ${DATA_PATH}: look at the log of Docker`;
  }

  /**
   * Checks the memory limit that the sandbox's kernel shows: gVisor takes it from the cgroup, runc shows the cgroup
   * itself.
   */
  private async memory(): Promise<void> {
    const files = '/proc/meminfo /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes';
    const { output } = await this.shell(`cat ${files} 2>/dev/null`);
    const limits = [...output.matchAll(/^(?:MemTotal:\s+(\d+) kB|(\d+))$/gm)].map(([, kilobytes, bytes]) =>
      kilobytes === undefined ? Number(bytes) : Number(kilobytes) * 1024,
    );
    if (limits.some((limit) => limit <= MEMORY_MB * 1024 * 1024)) return;
    this.faults.memory = "the kernel does not hold sandboxes to their memory: enable cgroups' memory controller";
  }

  /**
   * Measures what the sandbox costs while no program runs in it. The lower of two seconds counts, as the end of the
   * last program may fall into the first.
   */
  private async idle(): Promise<void> {
    const { engineId } = this;
    const { signal } = this.options;
    if (engineId === null) return;
    const samples: ContainerStats[] = [];
    try {
      while (samples.length < IDLE_SAMPLES) {
        if (samples.length > 0) await delay(IDLE_MS, undefined, { signal });
        samples.push(await this.engine.containers.stats(engineId));
      }
      this.idleCores = leastCores(samples);
    } catch (error) {
      if (signal.aborted) throw error;
    }
  }

  /**
   * Checks that a stop sends SIGTERM to processes, that files inside and outside the volume survive a restart, and that
   * those outside can be kept.
   */
  private async end(): Promise<void> {
    const { engineId } = this;
    if (engineId === null) return;
    const trap = `trap 'echo ended >${DATA_PATH}/ended; exit' TERM; echo ready >${DATA_PATH}/ready`;
    const running = this.shell(`${trap}; while :; do sleep 0.2 || sleep 1; done`, { user: USER });
    running.catch(() => undefined);
    await this.until(`[ -e ${DATA_PATH}/ready ]`);
    await this.shell(`echo kept >${PROOF_FILE}`);
    await this.engine.containers.stop(engineId, GRACE_SECONDS);
    await running.catch(() => undefined);
    await this.layer(engineId);
    await this.engine.containers.start(engineId);
    const { output } = await this.shell(`cat ${DATA_PATH}/written ${DATA_PATH}/ended ${PROOF_FILE}`);
    if (!output.includes('written')) this.faults.writes = `what is written to ${DATA_PATH} does not outlive a stop`;
    else if (!output.includes('kept')) {
      this.faults.writes = `what is written outside ${DATA_PATH} is lost at a stop: ${KEEP_LAYERS}`;
    }
    if (!output.includes('ended'))
      this.faults.end = 'processes are killed at a stop without their SIGTERM: look at the log of Docker';
  }

  /** Checks that snapshots and resizes can keep what is written outside the volume. */
  private async layer(engineId: string): Promise<void> {
    const { image: name, node = null } = this.spec;
    if (await this.engine.layers.persist({ name, node, written: engineId })) return;
    this.faults.layer = `snapshots and resizes lose what is written outside ${DATA_PATH}: ${KEEP_LAYERS}`;
  }

  /**
   * Checks the limit of processes. Runs last: under runc, no other process can be started while its processes sleep.
   */
  private async processes(): Promise<void> {
    const { engineId } = this;
    if (engineId === null) return;
    const before = await this.engine.containers.inspect(engineId);
    const many = `i=0; while [ $i -lt ${String(2 * PROCESSES)} ]; do sleep 5 & i=$((i+1)); done`;
    const { exitCode, output } = await this.shell(many, { user: USER });
    const after = await this.engine.containers.inspect(engineId);
    if (after?.state !== 'running' || after.startedAt !== before?.startedAt) {
      this.faults.processes =
        'too many processes end the whole sandbox: update gVisor, which does not hold its own limit';
    } else if (exitCode === 0 && !/fork/i.test(output)) {
      this.faults.processes = "sandboxes are not held to their number of processes: enable cgroups' pids controller";
    }
  }

  /** Waits until a command succeeds in the sandbox, at most `COMMAND_MS`. @throws EngineError */
  private async until(condition: string): Promise<void> {
    const end = performance.now() + COMMAND_MS;
    while ((await this.shell(condition)).exitCode !== 0 && performance.now() < end) {
      await delay(100, undefined, { signal: this.options.signal });
    }
  }

  private async shell(
    script: string,
    { user = '0' }: { user?: string } = {},
  ): Promise<{ exitCode: number; output: string }> {
    const output: Buffer[] = [];
    const { exitCode } = await this.engine.programs.run(this.engineId ?? '', {
      command: ['/bin/sh', '-c', script],
      user,
      timeoutMs: COMMAND_MS,
      maxOutputBytes: MAX_OUTPUT_BYTES,
      signal: this.options.signal,
      onOutput: ({ data }) => output.push(data),
    });
    return { exitCode, output: Buffer.concat(output).toString() };
  }
}

/**
 * The least share of one core that a container used between two consecutive samples.
 *
 * @returns null if Docker's clock did not advance, or there are fewer than two samples
 */
export function leastCores(samples: readonly Pick<ContainerStats, 'at' | 'cpu'>[]): number | null {
  const shares = samples.flatMap(({ at, cpu }, index) => {
    const before = samples[index - 1];
    const elapsedMs = before ? at.getTime() - before.at.getTime() : 0;
    return before && elapsedMs > 0 ? [Math.max(0, cpu.usedMs - before.cpu.usedMs) / elapsedMs] : [];
  });
  return shares.length > 0 ? Math.min(...shares) : null;
}

/**
 * Queries name servers from this machine.
 *
 * @returns whether one knows the name, none does but one answers, or none answers
 */
async function ask(servers: readonly string[]): Promise<'known' | 'unknown' | 'silent'> {
  const answers = await Promise.all(
    servers.map(async (server) => {
      const resolver = new Resolver({ timeout: ASKING_MS, tries: 1 });
      resolver.setServers([server]);
      try {
        await resolver.resolve4(NAME);
        return 'known';
      } catch (error) {
        const { code } = error as { code?: string };
        return code === 'ETIMEOUT' || code === 'ECONNREFUSED' ? 'silent' : 'unknown';
      }
    }),
  );
  return answers.includes('known') ? 'known' : answers.includes('unknown') ? 'unknown' : 'silent';
}
