import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerEngine, type ContainerSpec, type EngineImage, EngineError } from '../../engine';
import { ImageStore } from '../../images';
import { Clock } from '../../scheduling';
import type { WarmSlot } from '../model/warm-slot.entity';
import { KnownEngine } from '../nodes/known-engine';
import { containerName } from '../operations/steps';
import { Instance } from '../rows/instance';
import { WarmSlots } from '../rows/warm-slots';
import { SlotWatch } from './slot-watch';
import type { WarmSettings } from './warm-wants';

const OLDEST_MS = 24 * 3_600_000;

/** Makes slots in Docker, looks at them, and removes them. Each step can be undone from the slot's row alone. */
@Injectable()
export class SlotMaker {
  /** How long a new slot must stay up, in milliseconds: a missing main process fails only after a successful start. */
  readonly watchMs: number = 300;
  /** The slots that this process is making or removing. */
  private readonly working = new Set<string>();

  constructor(
    private readonly engine: ContainerEngine,
    private readonly images: ImageStore,
    private readonly instance: Instance,
    private readonly known: KnownEngine,
    private readonly slots: WarmSlots,
    private readonly watch: SlotWatch,
    private readonly clock: Clock,
  ) {}

  /** Whether this process is making or removing the slot. */
  isWorkingOn(id: string): boolean {
    return this.working.has(id);
  }

  /**
   * The key of the slots that suit these settings on a node (null: the single machine).
   *
   * @param image the version of the image
   * @returns null if the image is not there
   * @throws EngineError
   */
  async keyFor(settings: WarmSettings, image: EngineImage, node: string | null): Promise<string | null> {
    const key = await this.engine.containers.createKey(this.specOf(settings, { id: '', image, node }));
    return key === null || node === null ? key : `${node}/${key}`;
  }

  /**
   * The version of the image that a creation with these settings would use now, without asking a registry.
   *
   * @returns null if there is none
   * @throws EngineError
   */
  presentImage({ image }: WarmSettings, node: string | null): Promise<EngineImage | null> {
    return this.images.present(image, node);
  }

  /**
   * Makes one slot. If anything fails, what was made is removed; if that fails too, the row is left for the filler.
   *
   * @param options.pulls whether a missing image is pulled
   * @returns `image_missing` if it is not to be pulled, `passed` if another process fills the pool by now
   * @throws EngineError
   */
  async make(
    settings: WarmSettings,
    { node, pulls, signal }: { node: string | null; pulls: boolean; signal: AbortSignal },
  ): Promise<'made' | 'image_missing' | 'passed'> {
    const image = pulls
      ? (await this.images.forCreation(settings.image, { node, signal })).version
      : await this.images.present(settings.image, node);
    const key = image && (await this.keyFor(settings, image, node));
    if (image === null || key === null) return 'image_missing';
    await this.known.assertSame();
    const id = randomUUID();
    this.working.add(id);
    try {
      const { memoryMb, cpuShares, diskMb, keptLayerMb, network, processes } = settings;
      const limits = { memoryMb, cpuShares, diskMb, keptLayerMb, network, processes };
      const of = { image: settings.image, imageId: image.id, imageDigest: image.digest, nodeId: node };
      if (!(await this.slots.insert({ id, key, ...of, ...limits, madeAt: this.clock.now() }))) return 'passed';
      try {
        await this.start(this.specOf(settings, { id, image, node }));
      } catch (error) {
        await this.slots.markReleasing(id);
        await this.removeRemains({ id, nodeId: node }).catch(() => undefined);
        throw error;
      }
      return 'made';
    } finally {
      this.working.delete(id);
    }
  }

  /** Whether the slot still runs as it was made. @throws EngineError */
  async isSound({ engineId, runStartedAt }: Pick<WarmSlot, 'engineId' | 'runStartedAt'>): Promise<boolean> {
    const observed = engineId === null ? null : await this.engine.containers.inspect(engineId);
    return observed?.state === 'running' && observed.startedAt === runStartedAt;
  }

  /** Whether the slot is to be replaced because of its age. */
  isOld({ madeAt }: Pick<WarmSlot, 'madeAt'>): boolean {
    return this.clock.now().getTime() - madeAt.getTime() >= OLDEST_MS;
  }

  /** Whether a program has run in the slot that it was not made with, as far as Docker has reported. */
  mayBeUsed({ engineId }: Pick<WarmSlot, 'engineId'>): boolean {
    return engineId !== null && this.watch.mayBeUsed(engineId);
  }

  /**
   * Opens the connection to the supervisor of each ready slot, so that the first command of its user need not wait for
   * it. Never throws: without it a command only takes longer.
   */
  async prepare(slots: readonly WarmSlot[]): Promise<void> {
    const ready = slots.flatMap(({ state, engineId }) => (state === 'ready' ? (engineId ?? []) : []));
    await Promise.allSettled(ready.map((engineId) => this.engine.programs.prepare(engineId)));
  }

  /**
   * Removes a slot, unless a creation has taken it.
   *
   * @returns whether it was removed
   * @throws EngineError; then the row is left for the filler
   */
  async release(slot: Pick<WarmSlot, 'id' | 'nodeId'>): Promise<boolean> {
    if (!(await this.slots.markReleasing(slot.id))) return false;
    await this.removeRemains(slot);
    return true;
  }

  /** Removes what is in Docker of a slot that cannot be taken, then its row. @throws EngineError */
  async removeRemains({ id, nodeId }: Pick<WarmSlot, 'id' | 'nodeId'>): Promise<void> {
    this.working.add(id);
    try {
      const filter = { instance: this.instance.id, containerId: id, node: nodeId };
      const { items } = await this.engine.containers.list(filter);
      for (const { engineId } of items) await this.engine.containers.remove(engineId);
      // In another Docker its absence proves nothing.
      await this.known.assertSame();
      await this.engine.volumes.remove(containerName(id), nodeId);
      await this.slots.delete(id);
    } finally {
      this.working.delete(id);
    }
  }

  private async start(spec: ContainerSpec): Promise<void> {
    const { volumeName: name, diskMb, owner, node = null } = spec;
    const { containerId: id } = owner;
    await this.engine.volumes.ensure({ name, diskMb, owner, node, isNew: true });
    const engineId = await this.engine.containers.create(spec);
    await this.engine.containers.start(engineId, { isNew: true });
    const first = await this.engine.containers.inspect(engineId);
    await delay(this.watchMs);
    const runStartedAt = first?.startedAt ?? null;
    if (!first || !(await this.isSound({ engineId, runStartedAt }))) {
      throw new EngineError('start_refused', 'the container did not stay up');
    }
    const { runtime, ipAddress } = first;
    // The row is gone, or another process removes what is in Docker: this process was taken for dead.
    if (!(await this.slots.markReady(id, { engineId, runtime, runStartedAt, ipAddress }))) {
      throw new EngineError('aborted', 'the slot was given up meanwhile');
    }
  }

  private specOf(
    { memoryMb, cpuShares, diskMb, keptLayerMb, network, processes }: WarmSettings,
    { id, image, node }: { id: string; image: EngineImage; node: string | null },
  ): ContainerSpec {
    return {
      name: containerName(id),
      image: image.id,
      memoryMb,
      cpuShares,
      diskMb,
      keptLayerMb,
      network,
      processes,
      volumeName: containerName(id),
      owner: { instance: this.instance.id, containerId: id, userId: '', isWarm: true },
      generation: 1,
      node,
    };
  }
}
