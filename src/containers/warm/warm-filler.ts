import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { Mutex } from 'async-mutex';
import type { Logger } from 'pino';
import { isDeepStrictEqual } from 'node:util';
import { EngineError } from '../../engine';
import { LOGGER } from '../../logging';
import { LruMap, Poll, within } from '../../scheduling';
import type { WarmSlot } from '../model/warm-slot.entity';
import { KnownEngine } from '../nodes/known-engine';
import { type HeldSlot, WarmSlots } from '../rows/warm-slots';
import { SlotMaker } from './slot-maker';
import { SlotWatch } from './slot-watch';
import { WARM_OBSTACLES, WarmRoom } from './warm-room';
import { type WarmWant, WarmWants, withinMemory } from './warm-wants';

const EVERY_MS = 1_000;
/** How often Docker is asked whether the slots still run, and the database for the demand. */
const CHECK_EVERY_MS = 10_000;
/** How long a shutdown waits for the slot in work. What is left of it is removed at the next start. */
const ENDS_WITHIN_MS = 5_000;
const RELEASES_AT_ONCE = 4;

/** The pause after a slot could not be made; doubled at each further failure, up to `LONGEST_PAUSE_MS`. */
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 300_000;
const MOST_FAILURES = 1_000;

/** Why the pool does not fill up. */
export const WARM_PAUSES = [
  ...WARM_OBSTACLES,
  'other_process',
  'docker_changed',
  'image_missing',
  'memory_limit',
  'failed',
] as const;
export type WarmPause = (typeof WARM_PAUSES)[number];

/** Whether a slot was made for such settings; the node is not compared. */
export function isSlotOf({ settings }: Pick<WarmWant, 'settings'>, slot: WarmSlot): boolean {
  const { image, memoryMb, cpuShares, diskMb, keptLayerMb, network, processes } = slot;
  const { pool: _pool, ...wanted } = settings;
  return isDeepStrictEqual({ image, memoryMb, cpuShares, diskMb, keptLayerMb, network, processes }, wanted);
}

/**
 * Keeps the wanted slots ready: makes missing ones, replaces old ones, and finishes what a dead process began; one
 * after the other, in one process at a time. Makes none while a user waits for Docker.
 */
@Injectable()
export class WarmFiller implements OnModuleDestroy {
  private readonly mutex = new Mutex();
  private readonly stopped = new AbortController();
  private readonly poll: Poll;
  private readonly failures = new LruMap<{ readonly count: number; readonly until: number }>(MOST_FAILURES);
  private wanted: readonly WarmWant[] = [];
  private nextCheck = 0;
  /** Slots that were found as they were made since the last complete check. */
  private readonly checked = new Set<string>();
  private relieving: Promise<boolean> | null = null;
  private pausedFor: WarmPause | null = null;

  constructor(
    private readonly slots: WarmSlots,
    private readonly wants: WarmWants,
    private readonly room: WarmRoom,
    private readonly maker: SlotMaker,
    private readonly watch: SlotWatch,
    private readonly known: KnownEngine,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.poll = new Poll({
      everyMs: EVERY_MS,
      work: () => this.look(),
      onFault: (error) => this.logger.warn({ err: error }, 'the warm pool could not be filled; it is tried again'),
    });
  }

  /** Call once Docker is prepared, and before sweeps remove containers without rows. @throws the database's error */
  async start(): Promise<void> {
    await this.retire();
    if (!this.wants.isOff) this.watch.start();
    this.poll.start();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped.abort();
    this.poll.stop();
    await within(this.mutex.waitForUnlock(), { ms: ENDS_WITHIN_MS }).catch(() => undefined);
  }

  /** Why there are fewer slots than wanted, as of the last look; null: there are not. */
  get pause(): WarmPause | null {
    return this.pausedFor;
  }

  /** Does all that can be done now. @throws EngineError, the database's error */
  async look(): Promise<void> {
    await this.mutex.runExclusive(async () => {
      try {
        while (!this.stopped.signal.aborted && (await this.step()));
      } catch (error) {
        this.pausedFor = 'failed';
        throw error;
      }
    });
  }

  /**
   * Removes all slots that no creation has taken.
   *
   * @returns how many
   * @throws EngineError
   */
  async empty(): Promise<number> {
    const held = await this.slots.all();
    const ready = held.map(({ slot }) => slot).filter(({ state }) => state === 'ready');
    let removed = 0;
    const releaseNext = async (): Promise<void> => {
      for (let slot = ready.pop(); slot; slot = ready.pop()) if (await this.maker.release(slot)) removed += 1;
    };
    await Promise.all(Array.from({ length: RELEASES_AT_ONCE }, releaseNext));
    return removed;
  }

  /** Frees what slots use, for a user. All who ask meanwhile share the result. @returns whether there were slots */
  relieve(): Promise<boolean> {
    this.relieving ??= this.empty()
      .then((removed) => removed > 0)
      .catch((error: unknown) => {
        this.logger.warn({ err: error }, 'warm slots could not be removed for want of room');
        return false;
      })
      .finally(() => (this.relieving = null));
    return this.relieving;
  }

  /** @returns whether something was done, so that another step may follow */
  private async step(): Promise<boolean> {
    const leads = await this.slots.lead();
    if (this.known.changed) return this.rest('docker_changed');
    const all = await this.slots.all();
    const held = all.filter(({ slot: { nodeId } }) => this.room.answers(nodeId));
    const left = held.find((each) => this.isLeft(each, { leads }) && !this.isPaused(each.slot.id));
    if (left) return this.release(left.slot);
    if (!leads) return this.rest('other_process');
    const slots = held.map(({ slot }) => slot).filter(({ state }) => state !== 'releasing');
    const isCheckDue = performance.now() >= this.nextCheck;
    if (isCheckDue) this.wanted = await this.wants.current();
    const allowed = withinMemory(this.wanted, await this.room.memoryMb());
    const excess = await this.excess(slots, allowed, isCheckDue);
    if (excess) {
      const { slot, because } = excess;
      this.logger.info({ container_id: slot.id, image: slot.image, because }, 'a warm slot is released');
      return this.release(slot);
    }
    if (isCheckDue) this.nextCheck = performance.now() + CHECK_EVERY_MS;
    this.checked.clear();
    await this.maker.prepare(slots);
    if (this.wants.isOff && all.length === 0) this.poll.stop();
    return this.fillOne(slots, allowed);
  }

  /**
   * Gives up the slots of processes that are no longer there. A database that was restored from a backup may say ready
   * of a slot that a user has had since: then nothing of it is removed here, as for every container without a row.
   */
  private async retire(): Promise<void> {
    const held = await this.slots.all();
    if (!held.some(({ isAbandoned, slot: { state } }) => isAbandoned && state !== 'releasing')) return;
    const isCurrent = await this.watch.isDatabaseCurrent().catch(() => false);
    if (isCurrent) return this.slots.releaseOfTheDead();
    this.logger.warn('the database may be older than the containers: the volumes of its warm slots are kept');
    return this.slots.forgetOfTheDead();
  }

  private rest(why: WarmPause | null): false {
    this.pausedFor = why;
    return false;
  }

  /**
   * Whether the slot was left half made or half removed, and this process has to remove it: after a failure of its own,
   * and as the one that fills the pool after the death of another.
   */
  private isLeft({ slot: { id, state, holder }, isAbandoned }: HeldSlot, { leads }: { leads: boolean }): boolean {
    const isForgotten = holder === this.slots.holder && !this.maker.isWorkingOn(id);
    return state !== 'ready' && (isForgotten || (leads && isAbandoned));
  }

  /** Removes a slot. Docker's refusal does not keep the other slots from being made. @returns true */
  private async release(slot: WarmSlot): Promise<true> {
    await this.attempt(slot.id, () => this.maker.release(slot));
    return true;
  }

  private isPaused(subject: string): boolean {
    return performance.now() < (this.failures.get(subject)?.until ?? 0);
  }

  /** @returns what `work` returns; `failed` if the engine refused, and then the subject is left alone for a while */
  private async attempt<T>(subject: string, work: () => Promise<T>): Promise<T | 'failed'> {
    try {
      const result = await work();
      this.failures.delete(subject);
      return result;
    } catch (error) {
      if (!(error instanceof EngineError) || this.stopped.signal.aborted) throw error;
      const count = (this.failures.get(subject)?.count ?? 0) + 1;
      const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (count - 1));
      this.failures.set(subject, { count, until: performance.now() + pauseMs });
      this.logger.warn({ err: error, subject }, 'a warm slot could not be made or removed; it is tried again');
      return 'failed';
    }
  }

  /** The first slot that is not wanted as it is, the oldest first. Whether they run is checked now and then. */
  private async excess(
    slots: readonly WarmSlot[],
    allowed: readonly WarmWant[],
    isCheckDue: boolean,
  ): Promise<{ slot: WarmSlot; because: string } | null> {
    const wantOf = this.assigned(slots, allowed);
    for (const slot of slots) {
      if (slot.state !== 'ready' || this.isPaused(slot.id)) continue;
      const want = wantOf.get(slot);
      if (!want) return { slot, because: 'it is not wanted any more' };
      if (this.maker.isOld(slot)) return { slot, because: 'it is a day old' };
      if (this.maker.mayBeUsed(slot)) return { slot, because: 'another program ran in it' };
      if (!isCheckDue || this.checked.has(slot.id)) continue;
      if (await this.room.isOver(slot.nodeId, slots)) return { slot, because: 'its room is needed' };
      if (!(await this.maker.isSound(slot))) return { slot, because: 'it does not run as it was made' };
      const image = await this.maker.presentImage(want.settings, slot.nodeId);
      const key = image && (await this.maker.keyFor(want.settings, image, slot.nodeId));
      if (key !== null && key !== slot.key) return { slot, because: 'new containers are made in another way' };
      this.checked.add(slot.id);
    }
    return null;
  }

  /** The want that each slot is counted for, the newest slots first; those that are too many have none. */
  private assigned(slots: readonly WarmSlot[], allowed: readonly WarmWant[]): ReadonlyMap<WarmSlot, WarmWant> {
    const left = new Map(allowed.map((want) => [want, want.count]));
    // Those that name nodes first, as they have the smaller choice.
    const wants = [...allowed].sort((one, other) => Number(one.nodes === null) - Number(other.nodes === null));
    const found = new Map<WarmSlot, WarmWant>();
    for (const slot of [...slots].reverse()) {
      const isFor = (want: WarmWant): boolean =>
        (left.get(want) ?? 0) > 0 && isSlotOf(want, slot) && this.room.nodesFor(want).includes(slot.nodeId);
      const want = wants.find(isFor);
      if (!want) continue;
      found.set(slot, want);
      left.set(want, (left.get(want) ?? 0) - 1);
    }
    return found;
  }

  private async fillOne(slots: readonly WarmSlot[], allowed: readonly WarmWant[]): Promise<boolean> {
    const wants = [...this.assigned(slots, allowed).values()];
    const missing = allowed.filter((want) => wants.filter((each) => each === want).length < want.count);
    const total = (of: readonly WarmWant[]): number => of.reduce((sum, { count }) => sum + count, 0);
    const isCut = total(allowed) < total(this.wanted);
    if (missing.length === 0) return this.rest(isCut ? 'memory_limit' : null);
    const obstacle = await this.room.obstacle();
    if (obstacle !== null) return this.rest(obstacle);
    let why: WarmPause | null = null;
    for (const want of missing) {
      const subject = JSON.stringify(want.settings);
      if (this.isPaused(subject)) {
        why ??= 'failed';
        continue;
      }
      const place = await this.room.nodeWithRoom(want, slots);
      if (typeof place === 'string') {
        why ??= place;
        continue;
      }
      const options = { node: place.node, pulls: this.wants.isListed, signal: this.stopped.signal };
      const outcome = await this.attempt(subject, () => this.maker.make(want.settings, options));
      if (outcome === 'made') return true;
      why ??= outcome === 'passed' ? 'other_process' : outcome;
    }
    return this.rest(why);
  }
}
