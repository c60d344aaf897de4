import { Injectable, Inject } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import type { Logger } from 'pino';
import { Counter, Histogram } from 'prom-client';
import { Choice, Count, Text } from '../../api-fields';
import { EngineError } from '../../engine';
import { DomainError } from '../../errors';
import { LOGGER } from '../../logging';
import { Metrics, SampledGauge } from '../../metrics';
import { type NetworkPolicy, NETWORK_POLICY_SCHEMA } from '../../network-policy';
import { WARM_STATES, type WarmSlot, type WarmState } from '../model/warm-slot.entity';
import { WarmSlots } from '../rows/warm-slots';
import { SlotMaker } from './slot-maker';
import { isSlotOf, WARM_PAUSES, WarmFiller, type WarmPause } from './warm-filler';
import { WarmRoom } from './warm-room';
import { type WarmSettings, type WarmWant, WarmWants } from './warm-wants';

/**
 * Why a creation took no slot. `none_ready`: there is none of its settings. `other_key`: there is, for another version
 * of the image or of the create call. `image`: a registry has to be asked. `taken`: other creations were faster, there
 * is no room, or another program ran in the slot. `not_running`: the slot had stopped.
 */
const MISSES = ['none_ready', 'other_key', 'image', 'taken', 'not_running'] as const;
type Miss = (typeof MISSES)[number];

/** Slots of one kind. */
class WarmKindView {
  @Text('Null if no slot exists yet.', { nullable: true, example: '4f1d2c3b5a69' })
  readonly key: string | null;
  @Text({ example: 'berth/sandbox:latest' }) readonly image: string;
  @Count({ minimum: 1, example: 1024 }) readonly memory_mb: number;
  @Count({ minimum: 1, example: 1000 }) readonly cpu_shares: number;
  @Count({ minimum: 1, example: 10_240 }) readonly disk_mb: number;
  @ApiProperty(NETWORK_POLICY_SCHEMA)
  readonly network: NetworkPolicy;
  @Count({ minimum: 1, example: 1024 }) readonly processes: number;
  @Count('Target number of slots.', { example: 2 }) readonly wanted: number;
  @Count({ example: 0 }) readonly making: number;
  @Count({ example: 2 }) readonly ready: number;
  @Count({ example: 0 }) readonly releasing: number;
}

class WarmMissView {
  @Choice(MISSES, { example: 'none_ready' }) readonly reason: Miss;
  @Count({ minimum: 1, example: 1 }) readonly count: number;
}

/** The response of `GET /api/admin/warm`. */
export class WarmPoolView {
  @Choice(['auto', 'off', 'file'], { example: 'auto' })
  readonly mode: 'auto' | 'off' | 'file';
  @Choice(
    WARM_PAUSES,
    'Why there are fewer slots than the target, as seen by this process; null if there are enough.',
    { nullable: true, example: null },
  )
  readonly waiting_for: WarmPause | null;
  @Count('MiB: sum of the memory limits of all slots.', { example: 2048 })
  readonly memory_mb: number;
  @Count('MiB: maximum for this sum.', { example: 3072 })
  readonly memory_limit_mb: number;
  @ApiProperty({ type: [WarmKindView] })
  readonly slots: readonly WarmKindView[];
  @Count('Creations that used a slot, in this process since its start.', { example: 12 })
  readonly hits: number;
  @ApiProperty({
    type: [WarmMissView],
    description: 'Creations that used no slot, by reason, in this process since its start.',
  })
  readonly misses: readonly WarmMissView[];
}

/** The response of `DELETE /api/admin/warm`. */
export class WarmPoolEmptiedView {
  @Choice(['warm pool emptied']) readonly message: string;
  @Count('Number of slots removed.', { example: 2 }) readonly count: number;
}

/** Slots for creations: which of them suit, how many were taken, and what operators see of them. */
@Injectable()
export class WarmPool {
  private readonly claims: Counter<'result' | 'reason'>;
  private readonly duration: Histogram;
  private readonly misses = new Map<Miss, number>();
  private hits = 0;

  constructor(
    private readonly slots: WarmSlots,
    private readonly wants: WarmWants,
    private readonly room: WarmRoom,
    private readonly maker: SlotMaker,
    private readonly filler: WarmFiller,
    metrics: Metrics,
    @Inject(LOGGER) logger: Logger,
  ) {
    const { registry } = metrics;
    this.claims = new Counter({
      name: 'berth_warm_claims_total',
      help: 'Creations by use of a warm slot: hit, or the reason why none was used.',
      labelNames: ['result', 'reason'],
      registers: [registry],
    });
    this.duration = new Histogram({
      name: 'berth_warm_claim_seconds',
      help: 'Duration of creations that used a warm slot, up to the response.',
      buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1],
      registers: [registry],
    });
    new SampledGauge(metrics, {
      name: 'berth_warm_slots',
      help: 'Warm slots over all processes, by state and key.',
      labelNames: ['state', 'key'],
      sample: async () => {
        const counts = new Map<string, number>();
        for (const { slot } of await this.slots.all()) {
          const at = `${slot.state} ${shortKey(slot)}`;
          counts.set(at, (counts.get(at) ?? 0) + 1);
        }
        return [...counts].map(([at, value]) => {
          const [state = '', key = ''] = at.split(' ');
          return { labels: { state, key }, value };
        });
      },
      logger,
    });
  }

  /** Whether there are slots at all. */
  get isOff(): boolean {
    return this.wants.isOff;
  }

  /**
   * The keys of the slots that suit a creation, on each node that takes containers and has a slot like it.
   *
   * @returns none if it cannot take a slot; then the miss is noted
   * @throws EngineError, the database's error
   */
  async keysFor(settings: WarmSettings): Promise<readonly string[]> {
    const open = this.room.nodesFor({ settings, nodes: null });
    const ready = (await this.slots.readyFor(settings)).filter(({ node }) => open.includes(node));
    const nodes = [...new Set(ready.map(({ node }) => node))];
    const images = await Promise.all(nodes.map((node) => this.maker.presentImage(settings, node)));
    const keys = await Promise.all(
      images.map(async (image, at) => image && this.maker.keyFor(settings, image, nodes[at] ?? null)),
    );
    const suiting = keys.filter((key) => key !== null && ready.some((slot) => slot.key === key));
    if (nodes.length === 0) this.noteMiss('none_ready');
    else if (keys.every((key) => key === null)) this.noteMiss('image');
    else if (suiting.length === 0) this.noteMiss('other_key');
    return suiting.filter((key) => key !== null);
  }

  /** Whether a program has run in the slot that it was not made with, as far as Docker has reported. */
  mayBeUsed(slot: WarmSlot): boolean {
    return this.maker.mayBeUsed(slot);
  }

  /** Whether a slot runs as it was made. @throws EngineError */
  isSound(slot: Pick<WarmSlot, 'engineId' | 'runStartedAt'>): Promise<boolean> {
    return this.maker.isSound(slot);
  }

  noteHit(ms: number): void {
    this.hits += 1;
    this.claims.inc({ result: 'hit', reason: '' });
    this.duration.observe(ms / 1000);
  }

  noteMiss(reason: Miss): void {
    this.misses.set(reason, (this.misses.get(reason) ?? 0) + 1);
    this.claims.inc({ result: 'miss', reason });
  }

  /** @throws the database's error */
  async view(): Promise<WarmPoolView> {
    const slots = (await this.slots.all()).map(({ slot }) => slot);
    const wants = await this.wants.current();
    return {
      mode: this.isOff ? 'off' : this.wants.isListed ? 'file' : 'auto',
      waiting_for: this.isOff ? null : this.filler.pause,
      memory_mb: slots.reduce((sum, { memoryMb }) => sum + memoryMb, 0),
      memory_limit_mb: await this.room.memoryMb(),
      slots: kindsOf(slots, wants),
      hits: this.hits,
      misses: [...this.misses].map(([reason, count]) => ({ reason, count })),
    };
  }

  /** Removes all slots that no creation has taken. @throws DomainError `not_ready` if Docker does not answer */
  async empty(): Promise<WarmPoolEmptiedView> {
    try {
      return { message: 'warm pool emptied', count: await this.filler.empty() };
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      throw new DomainError('not_ready', { code: error.code, cause: error });
    }
  }
}

/** The first digits of a key's digest, to recognise it by. */
function shortKey({ key }: Pick<WarmSlot, 'key'>): string {
  return key.slice(key.lastIndexOf('/') + 1).slice(0, 12);
}

function kindsOf(slots: readonly WarmSlot[], wants: readonly WarmWant[]): WarmKindView[] {
  const counts = new Map<string, { want: WarmWant; count: number }>();
  for (const want of wants) {
    // A file may have several entries with the same settings, for several nodes.
    const same = JSON.stringify(want.settings);
    counts.set(same, { want, count: (counts.get(same)?.count ?? 0) + want.count });
  }
  const wanted = [...counts.values()].map(({ want, count }) => {
    const of = slots.filter((slot) => isSlotOf(want, slot));
    return viewOf(want.settings, of, count);
  });
  const rest = slots.filter((slot) => !wants.some((want) => isSlotOf(want, slot)));
  const keys = [...new Set(rest.map(({ key }) => key))];
  const unwanted = keys.flatMap((key) => {
    const of = rest.filter((slot) => slot.key === key);
    return of[0] ? viewOf(of[0], of, 0) : [];
  });
  return [...wanted, ...unwanted];
}

function viewOf(
  { image, memoryMb, cpuShares, diskMb, network, processes }: Omit<WarmSettings, 'pool' | 'keptLayerMb'>,
  slots: readonly WarmSlot[],
  wanted: number,
): WarmKindView {
  const newest = slots.at(-1);
  const count = (state: WarmState): number => slots.filter((slot) => slot.state === state).length;
  const [making, ready, releasing] = WARM_STATES.map(count);
  return {
    key: newest ? shortKey(newest) : null,
    image,
    memory_mb: memoryMb,
    cpu_shares: cpuShares,
    disk_mb: diskMb,
    network,
    processes,
    wanted,
    making: making ?? 0,
    ready: ready ?? 0,
    releasing: releasing ?? 0,
  };
}
