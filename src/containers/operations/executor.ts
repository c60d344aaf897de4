import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config, CONFIG } from '../../config';
import {
  ContainerEngine,
  ContainerSpec,
  CopyProgress,
  EngineError,
  EngineState,
  type LayerImage,
  ObservedContainer,
  PullProgress,
} from '../../engine';
import { DomainError } from '../../errors';
import { ImageStore, type UsableImage } from '../../images';
import { inSpan } from '../../tracing';
import { CopyTurns } from '../leases/copy-turns';
import { type ContainerRow, isUp, keptWith } from '../model/container.entity';
import { RunPolicies, type RunPolicy } from '../policies/run-policy';
import { Instance } from '../rows/instance';
import { KnownEngine } from '../nodes/known-engine';
import type { ContainerLimits, Seed, Step, Target } from './steps';
import { ProvenImages } from './proven-images';

/** Findings of the executed steps; input to the outcome. */
export interface StepResults {
  /** The Docker id of the new container. */
  replacementId?: string;
  generation?: number;
  /** The OCI runtime of the new container. */
  runtime?: string;
  /** The image that the new container is created from. */
  image?: UsableImage;
  /** Whether the data volume existed before. */
  volumeExisted?: boolean;
  /** The process limit of the new container. */
  processes?: number;
  /** The volume that the data was moved to. */
  volumeName?: string;
  /** The size of the data that was copied, in bytes. */
  copiedBytes?: number;
  /** The image that was made of the container's writable layer. */
  layer?: LayerImage;
  /** Whether the new container has what was in the old one's writable layer. */
  rootKept?: boolean;
  /** The size of that layer alone, in bytes. */
  committedBytes?: number;
  /** When Docker was asked to suspend the container; `performance.now()`. */
  suspendedAt?: number;
  /** How long the container was suspended. */
  suspendedMs?: number;
  /** The step that failed first. */
  failedAt?: SingleStep['do'];
  /** Docker was asked to start the new container; the call may have failed. */
  wasStartAsked?: true;
  /** Whether the container was already running when its start was requested. */
  wasRunning?: boolean;
  /** The new container, as last seen running. */
  observed?: ObservedContainer;
  /** The limits of the user's runs, as read during the start. */
  policy?: RunPolicy;
  /** The container's state when its stop was requested. */
  stopFound?: 'running' | 'stopped' | 'missing';
}

export interface Execution {
  readonly row: ContainerRow;
  /** The container's resources and name: the row's, unless an update changes them. */
  readonly resources: ContainerLimits & { readonly name?: string };
  /** What the row's first container is made from; null: its image alone. */
  readonly seed: Seed | null;
  /** The maximum size of a writable layer that is committed, in bytes; absent: none is. */
  readonly mostLayerBytes?: number;
  /** Whether the user's turn to copy data was taken for all steps. */
  readonly hasTurn?: true;
  /** Called before each step; throws if the operation must not continue. */
  readonly assertWanted: () => Promise<void>;
  readonly signal?: AbortSignal;
  readonly onStep?: (step: Step) => void;
  readonly onPull?: (progress: PullProgress) => void;
  readonly onCopy?: (progress: CopyProgress) => void;
  /** Called once the image of the writable layer exists. */
  readonly onLayer?: (layer: LayerImage) => void;
}

/** One engine call. */
type SingleStep = Exclude<Step, { readonly do: 'in_parallel' }>;
type CreateStep = Extract<Step, { readonly do: 'create_container' }>;
type CopyStep = Extract<Step, { readonly do: 'copy_volume' }>;
type ConfirmStep = Extract<Step, { readonly do: 'confirm_running' }>;

/** How long a container of an unproven image is watched. */
const WATCH_MS = 300;
/** The pause between two inspections of a watched container. */
const CONFIRM_EVERY_MS = 100;

/** States in which a container may write. */
const AT_WORK: readonly EngineState[] = ['running', 'paused', 'restarting'];

const NOT_AT_REST = 'the container was started while its data was copied';

const NOT_SUSPENDED = 'the container was not suspended while its snapshot was made';

/** A started container is not running, or was started again by Docker's restart policy. */
const NOT_UP = 'the container did not stay up';

/** The writable layer of a container was written to after it had been found unwritten. */
class LayerWrittenError extends EngineError {
  constructor() {
    super('copy_failed', 'the container wrote outside its home before it was stopped or suspended');
  }
}

/** Whether an operation failed because a layer was written to meanwhile: its next plan keeps the layer. */
export function isLayerWritten(error: unknown): boolean {
  return error instanceof DomainError && error.cause instanceof LayerWrittenError;
}

/** Builds the specs that containers are created from. */
@Injectable()
export class ContainerSpecs {
  constructor(
    readonly instance: Instance,
    private readonly policies: RunPolicies,
  ) {}

  async of(step: CreateStep, { row, resources }: Execution, results: StepResults): Promise<ContainerSpec> {
    const { image, processes, committedBytes = 0 } = results;
    return {
      name: step.name,
      hostname: resources.name ?? row.name,
      generation: step.generation,
      image: image?.name ?? row.image,
      memoryMb: resources.memoryMb,
      cpuShares: resources.cpuShares,
      diskMb: resources.diskMb,
      keptLayerMb: keptWith(row, committedBytes),
      network: resources.network,
      processes: processes ?? (await this.processesOf(row)),
      volumeName: step.volume,
      ...(step.isSeeded && { isSeeded: true }),
      owner: this.instance.owner(row),
      node: step.node ?? row.nodeId,
    };
  }

  /** The process limit of the user's tier. */
  processesOf({ userId }: Pick<ContainerRow, 'userId'>): Promise<number> {
    return this.policies.processesOf(userId);
  }

  /** The current limits of the user's runs. */
  policyOf({ userId }: Pick<ContainerRow, 'userId'>): Promise<RunPolicy> {
    return this.policies.policyOf(userId);
  }
}

/** Executes a plan's steps, one engine call each, in order; makes no decisions. */
@Injectable()
export class StepExecutor {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly images: ImageStore,
    private readonly specs: ContainerSpecs,
    private readonly turns: CopyTurns,
    private readonly proven: ProvenImages,
    private readonly known: KnownEngine,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /**
   * @returns `results`, with the steps' findings
   * @throws EngineError of the first failed step; the errors of `assertWanted`
   */
  async execute(steps: readonly Step[], execution: Execution, results: StepResults = {}): Promise<StepResults> {
    // Taken before the container is stopped or suspended: it does not wait in that state.
    const isHalted = doesAny(steps, ['pause_container', 'stop_container']);
    if (execution.hasTurn !== true && isHalted && doesAny(steps, ['copy_volume'])) {
      const work = (): Promise<StepResults> => this.execute(steps, { ...execution, hasTurn: true }, results);
      return this.turns.run(execution.row, { assertWanted: execution.assertWanted, work });
    }
    for (const step of steps) {
      await execution.assertWanted();
      if (step.do === 'in_parallel') {
        await this.inParallel(step.branches, execution, results);
      } else {
        execution.onStep?.(step);
        try {
          const about = { container_id: execution.row.id };
          await inSpan(`step ${step.do}`, about, () => this.perform(step, execution, results));
        } catch (error) {
          results.failedAt ??= step.do;
          throw error;
        }
      }
    }
    await execution.assertWanted();
    return results;
  }

  /**
   * If one branch fails, the others stop before their next step, and are awaited: no call may still be running in
   * Docker when a rollback begins.
   */
  private async inParallel(
    branches: readonly (readonly Step[])[],
    execution: Execution,
    results: StepResults,
  ): Promise<void> {
    const failed = new AbortController();
    const branch: Execution = {
      ...execution,
      assertWanted: async () => {
        await execution.assertWanted();
        failed.signal.throwIfAborted();
      },
      signal: execution.signal ? AbortSignal.any([execution.signal, failed.signal]) : failed.signal,
    };
    const run = (steps: readonly Step[]): Promise<unknown> =>
      this.execute(steps, branch, results).catch((error: unknown) => failed.abort(error));
    await Promise.all(branches.map(run));
    // The reason is the error of the branch that failed first.
    failed.signal.throwIfAborted();
  }

  private async perform(step: SingleStep, execution: Execution, results: StepResults): Promise<void> {
    const { row } = execution;
    switch (step.do) {
      case 'ensure_image':
        results.image = await this.ensureImage(execution, step.node);
        return;
      case 'ensure_volume': {
        await this.assertKnown(row);
        const owner = this.specs.instance.owner(row, step.owner);
        const { isNew = false, node = row.nodeId } = step;
        const volume = { name: step.volume, diskMb: execution.resources.diskMb, owner, node, isNew };
        // The next step needs the process limit; reading it meanwhile costs no time.
        const [{ existed }, processes] = await Promise.all([
          this.engine.volumes.ensure(volume),
          this.specs.processesOf(row),
        ]);
        results.volumeExisted = existed;
        results.processes = processes;
        return;
      }
      case 'create_container':
        // Docker silently creates a missing volume, so this must be the Docker that the volume was in.
        if (!step.sawCurrent && results.volumeExisted === undefined) await this.assertKnown(row);
        results.replacementId = await this.createContainer(step, execution, results);
        results.generation = step.generation;
        results.runtime = this.engine.host.capabilities.runtime;
        return;
      case 'start_container':
        results.wasRunning = await this.startKnowing(step.target, row, results);
        return;
      case 'pause_container':
        results.suspendedAt = performance.now();
        await this.engine.containers.pause(target(step.target, row, results));
        return;
      case 'unpause_container':
        await this.engine.containers.unpause(target(step.target, row, results));
        results.wasRunning = true;
        if (results.suspendedAt !== undefined)
          results.suspendedMs = Math.round(performance.now() - results.suspendedAt);
        return;
      case 'stop_container':
        results.stopFound = await this.stop(target(step.target, row, results));
        return;
      case 'confirm_running':
        await this.confirmRunning(target(step.target, row, results), { step, results });
        return;
      case 'copy_volume':
        results.copiedBytes = await this.copyInTurn(step, execution);
        results.volumeName = step.to;
        return;
      case 'await_seed':
        await execution.seed?.untilMade?.(execution.assertWanted);
        return;
      case 'confirm_unwritten':
        await this.confirmUnwritten(target(step.target, row, results));
        return;
      case 'commit_layer': {
        const { reference } = step;
        const engineId = target('current', row, results);
        const { mostLayerBytes: mostBytes = 0 } = execution;
        const layer = await this.engine.layers.commit({ engineId, reference, mostBytes, ...signalOf(execution) });
        this.noteLayer(layer, row, results);
        results.committedBytes = layer.bytes;
        execution.onLayer?.(layer);
        return;
      }
      case 'flatten_layer': {
        const { reference } = step;
        const flat = await this.engine.layers.flatten({ reference, node: row.nodeId, ...signalOf(execution) });
        if (flat !== null) this.noteLayer(flat, row, results);
        return;
      }
      case 'copy_layer': {
        const { reference, imageId = results.layer?.imageId, fromNode = row.nodeId, node = row.nodeId } = step;
        if (imageId === undefined) throw new Error('a plan copies a layer before there is one');
        const layer = { imageId, reference, node: fromNode, toNode: node, ...signalOf(execution) };
        await this.engine.nodes.copyLayer(layer);
        return;
      }
      case 'confirm_paused':
        await this.confirmPaused(target(step.target, row, results));
        return;
      case 'confirm_stopped':
        await this.confirmStopped(target(step.target, row, results));
        return;
      case 'remove_container':
        await this.engine.containers.remove(target(step.target, row, results));
        return;
      case 'rename_container':
        await this.engine.containers.rename(target(step.target, row, results), step.name);
        return;
      case 'remove_volume':
        await this.engine.volumes.remove(step.volume, row.nodeId);
        return;
    }
  }

  /** A container that is created afterwards is created from the layer, which needs no other proof if it runs. */
  private noteLayer(layer: LayerImage, { status }: ContainerRow, results: StepResults): void {
    const { imageId } = layer;
    results.layer = layer;
    results.image = { name: imageId, version: { id: imageId, digest: null }, isChanged: false };
    if (isUp(status)) this.proven.add({ imageId, runtime: this.engine.host.capabilities.runtime });
  }

  /** To be called before a volume may be created: in another Docker, a missing volume is not lost. */
  private async assertKnown(row: ContainerRow): Promise<void> {
    if (row.engineId === null) this.known.assertUnchanged();
    else await this.known.assertSame();
  }

  private async copyInTurn(step: CopyStep, execution: Execution): Promise<number> {
    if (execution.hasTurn === true) return this.copy(step, execution);
    const { row, assertWanted } = execution;
    return this.turns.run(row, { assertWanted, work: () => this.copy(step, execution) });
  }

  /** @returns the size of the data in bytes */
  private async copy({ from, to, fromNode, node }: CopyStep, { row, onCopy, signal }: Execution): Promise<number> {
    const toNode = node ?? row.nodeId;
    const { bytes } = await this.engine.volumes.copy({
      from,
      to,
      image: this.config.VOLUME_COPY_IMAGE,
      owner: this.specs.instance.owner(row),
      node: fromNode ?? row.nodeId,
      ...(toNode !== null && { toNode }),
      ...(onCopy && { onProgress: onCopy }),
      ...(signal && { signal }),
    });
    return bytes;
  }

  /** A row's first container takes the newest version of its image; a later one takes its predecessor's version. */
  private ensureImage({ row, seed, onPull, signal }: Execution, node = row.nodeId): Promise<UsableImage> {
    // An image that is missing from another Docker is not pulled there.
    const beforePull = (): Promise<void> => this.known.assertSame();
    const options = { node, beforePull, ...(onPull && { onProgress: onPull }), ...(signal && { signal }) };
    if (seed !== null) return this.images.forCopy({ ...seed.image, layerId: seed.layerId }, options);
    return row.engineId === null
      ? this.images.forCreation(row.image, options)
      : this.images.forRecreation(row, options);
  }

  private async createContainer(step: CreateStep, execution: Execution, results: StepResults): Promise<string> {
    try {
      return await this.engine.containers.create(await this.specs.of(step, execution, results));
    } catch (error) {
      // A layer cannot be had again; without it, the container would silently lose its files.
      const isOnLayer = results.layer !== undefined;
      if (!(error instanceof EngineError) || error.code !== 'image_not_found' || isOnLayer) throw error;
      // The image was removed since it was found: by an operator, or as unused by a process that read the rows before
      // this row was inserted.
      results.image = await this.ensureImage(execution, step.node);
      return this.engine.containers.create(await this.specs.of(step, execution, results));
    }
  }

  /** Reads the policy, which the outcome of a new run needs, while Docker starts the container: that costs no time. */
  private async startKnowing(which: Target, row: ContainerRow, results: StepResults): Promise<boolean> {
    const policy = row.status === 'running' ? undefined : this.specs.policyOf(row);
    // Keeps a failed read from being an unhandled rejection while Docker's answer is awaited.
    policy?.catch(() => undefined);
    const outcome = await this.start(which, row, results);
    if (policy) results.policy = await policy;
    return outcome === 'already_running';
  }

  private start(which: Target, row: ContainerRow, results: StepResults): Promise<'started' | 'already_running'> {
    // Not new after a copy: the copy may take minutes, in which the replacement can be disconnected from its network.
    const isNew = which === 'replacement' && results.volumeName === undefined;
    if (which === 'replacement' && this.engine.nodes.answers(row.nodeId)) results.wasStartAsked = true;
    return this.engine.containers.start(target(which, row, results), { isNew });
  }

  private async stop(engineId: string): Promise<'running' | 'stopped' | 'missing'> {
    try {
      const found = await this.engine.containers.stop(engineId, this.config.STOP_GRACE_SECONDS);
      return found === 'stopped' ? 'running' : 'stopped';
    } catch (error) {
      if (error instanceof EngineError && error.code === 'container_not_found') return 'missing';
      throw error;
    }
  }

  private async confirmPaused(engineId: string): Promise<void> {
    const observed = await this.engine.containers.inspect(engineId);
    if (observed?.state !== 'paused') throw new EngineError('container_not_running', NOT_SUSPENDED);
  }

  private async confirmStopped(engineId: string): Promise<void> {
    const observed = await this.engine.containers.inspect(engineId);
    if (observed && AT_WORK.includes(observed.state)) throw new EngineError('copy_failed', NOT_AT_REST);
  }

  private async confirmUnwritten(engineId: string): Promise<void> {
    const layer = await this.engine.layers.measure(engineId);
    if (layer?.isWritten === true) throw new LayerWrittenError();
  }

  private async confirmRunning(
    engineId: string,
    { step, results }: { step: ConfirmStep; results: StepResults },
  ): Promise<void> {
    const end = performance.now() + WATCH_MS;
    let run: string | null = null;
    for (;;) {
      const observed = await this.engine.containers.inspect(engineId);
      run ??= observed?.startedAt ?? null;
      // Another start time means that Docker's restart policy was faster than this inspection.
      if (observed?.state !== 'running' || observed.startedAt !== run) {
        if (observed) this.proven.forget(observed);
        throw new EngineError('start_refused', NOT_UP);
      }
      const isProven = step.by === 'one_look' || this.proven.covers(observed);
      if (isProven || performance.now() >= end) {
        if (!isProven) this.proven.add(observed);
        results.observed = observed;
        return;
      }
      await delay(Math.min(CONFIRM_EVERY_MS, end - performance.now()));
    }
  }
}

/** Whether one of the steps, or of those of their branches, is one of these calls. */
function doesAny(steps: readonly Step[], calls: readonly Step['do'][]): boolean {
  return steps.some((step) =>
    step.do === 'in_parallel' ? step.branches.some((branch) => doesAny(branch, calls)) : calls.includes(step.do),
  );
}

function target(which: Target, row: ContainerRow, results: StepResults): string {
  const engineId = which === 'current' ? row.engineId : results.replacementId;
  if (engineId == null) throw new Error(`a plan names the ${which} container before there is one`);
  return engineId;
}

function signalOf({ signal }: Execution): { signal?: AbortSignal } {
  return signal ? { signal } : {};
}
