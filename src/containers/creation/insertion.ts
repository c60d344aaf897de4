import { Injectable } from '@nestjs/common';
import { IdempotencyKeys, type OnceOnly } from '../../idempotency';
import { Capacity } from '../capacity/capacity';
import type { ContainerCreatedView } from '../dto/responses';
import { containerFacts, type ContainerRow } from '../model/container.entity';
import type { WarmSlot } from '../model/warm-slot.entity';
import { ContainerRepository } from '../rows/container.repository';
import type { CapacityBounds } from '../rows/reserved-capacity';

/** A creation that is accepted if there is room for it. */
interface Accepted {
  readonly userId: string;
  readonly tier: string;
  /** The tier's maximum number of containers. */
  readonly limit: number;
  /** On a cluster, the tier's pool of nodes. */
  readonly pool: string;
  /** On a cluster, the node that is taken while it has room; null or absent: the one with the most room. */
  readonly preferred?: string | null;
  /** What is copied into its volume. */
  readonly bytes?: number;
  /** With an idempotency key: creates nothing if the key was used. */
  readonly once: OnceOnly | null;
  readonly answerOf: (row: ContainerRow) => ContainerCreatedView;
}

/** The inserted row with its answer; or the earlier answer under the key, and then nothing is inserted. */
export type Inserted =
  | { readonly row: ContainerRow; readonly answer: ContainerCreatedView }
  | { readonly replayed: ContainerCreatedView };

type Keep = (row: ContainerRow) => Promise<void>;

/** Inserts the rows of creations, within the tier's and the machine's limits, once under an idempotency key. */
@Injectable()
export class Insertion {
  constructor(
    private readonly capacity: Capacity,
    private readonly repository: ContainerRepository,
    private readonly keys: IdempotencyKeys,
  ) {}

  /** @throws DomainError `container_limit_reached`, `name_taken`, `idempotency_key_reused`, `no_capacity` */
  insert(row: ContainerRow, accepted: Accepted): Promise<Inserted> {
    const { limit, tier } = accepted;
    const event = { type: 'container_created', data: containerFacts(row) } as const;
    return this.within(accepted, async (bounds, keep) => {
      await keep(row);
      // Last, because the insertion locks the reserved capacity, which all users share.
      return this.repository.insert(row, { limit, tier, event, bounds });
    });
  }

  /**
   * Inserts a container in a warm slot, as {@link ContainerRepository.insertWarm} does.
   *
   * @throws NoSlotError, DomainError `name_taken`, `idempotency_key_reused`
   */
  insertWarm(
    rowOf: (slot: WarmSlot) => ContainerRow,
    accepted: Accepted & { readonly slotKeys: readonly string[] },
  ): Promise<Inserted> {
    const { userId, limit, slotKeys: keys } = accepted;
    return this.within(accepted, async (bounds, keep) => {
      const row = await this.repository.insertWarm(rowOf, { userId, keys, limit, bounds });
      // The slot is the container: its id is not known before.
      await keep(row);
      return row;
    });
  }

  private within(
    { userId, pool, preferred = null, bytes = 0, once, answerOf }: Accepted,
    insert: (bounds: CapacityBounds, keep: Keep) => Promise<ContainerRow>,
  ): Promise<Inserted> {
    return this.capacity.within(
      async (bounds) => {
        let inserted: ContainerRow | undefined;
        const { answer, isReplayed } = await this.keys.once<ContainerCreatedView>(userId, once, async (keep) => {
          inserted = await insert(bounds, (row) => keep({ answer: answerOf(row), id: row.id }));
        });
        return isReplayed || !inserted ? { replayed: answer } : { row: inserted, answer };
      },
      { preferred, pool, bytes },
    );
  }
}
