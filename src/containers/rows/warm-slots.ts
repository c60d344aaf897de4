import { Injectable } from '@nestjs/common';
import type { SelectQueryBuilder } from 'typeorm';
import { Database, isAbsentSql, ProcessPresence, type Sql, sql, TaskLead } from '../../database';
import { type WarmSlot, WarmSlotEntity } from '../model/warm-slot.entity';

/** No slot can be taken. The creation goes on without one. */
export class NoSlotError extends Error {
  override readonly name = 'NoSlotError';
}

/** A slot, and whether the process that makes or releases it is no longer there. */
export interface HeldSlot {
  readonly slot: WarmSlot;
  readonly isAbandoned: boolean;
}

/**
 * Writes the rows of warm slots. Every change of a slot's state is conditional on the state before, so that a slot is
 * taken or released, and either once.
 */
@Injectable()
export class WarmSlots {
  /** Of the filling of the pool. */
  private readonly filling: TaskLead;

  constructor(
    private readonly database: Database,
    private readonly presence: ProcessPresence,
  ) {
    this.filling = new TaskLead(database, presence, 'warm_filler');
  }

  /** Names this process in the slots that it makes or releases. */
  get holder(): string {
    return this.presence.holder;
  }

  /**
   * Makes this process the one that fills the pool, if it is already, or if that process is no longer there.
   *
   * @returns whether it is
   */
  lead(): Promise<boolean> {
    return this.filling.take();
  }

  /**
   * Inserts a slot that is about to be made. The lock on the setting keeps another process from counting the slots
   * meanwhile, so that two processes never overfill.
   *
   * @returns false if another process fills the pool by now
   */
  async insert(
    slot: Omit<WarmSlot, 'holder' | 'state' | 'engineId' | 'runtime' | 'runStartedAt' | 'ipAddress'>,
  ): Promise<boolean> {
    const row: WarmSlot = {
      ...slot,
      state: 'making',
      holder: this.presence.holder,
      engineId: null,
      runtime: null,
      runStartedAt: null,
      ipAddress: null,
    };
    return this.database.runInTx(async () => {
      const isHeld = await this.filling.isHeld('locked');
      if (isHeld) await this.database.run(sql.insert(WarmSlotEntity, row));
      return isHeld;
    });
  }

  /** @returns false if the slot was released meanwhile: this process was taken for dead */
  async markReady(
    id: string,
    seen: Pick<WarmSlot, 'engineId' | 'runtime' | 'runStartedAt' | 'ipAddress'>,
  ): Promise<boolean> {
    const { affected } = await this.database.run(sql`
      UPDATE warm_slots SET ${sql.set(WarmSlotEntity, { ...seen, state: 'ready' })}
      WHERE id = ${id} AND state = 'making' AND holder = ${this.holder}`);
    return affected === 1;
  }

  /** Keeps a slot from being taken, before it is removed from Docker. @returns false if a creation has taken it */
  async markReleasing(id: string): Promise<boolean> {
    const { affected } = await this.database.run(sql`
      UPDATE warm_slots SET state = 'releasing', holder = ${this.holder} WHERE id = ${id}`);
    return affected === 1;
  }

  /** Releases the slots of processes that are no longer there. */
  async releaseOfTheDead(): Promise<void> {
    await this.database.run(sql`UPDATE warm_slots SET state = 'releasing' WHERE ${this.isOfTheDead}`);
  }

  /**
   * Deletes the rows of slots of processes that are no longer there, except of those that were being released. Their
   * containers are orphans then, and their volumes stay.
   */
  async forgetOfTheDead(): Promise<void> {
    await this.database.run(sql`DELETE FROM warm_slots WHERE state <> 'releasing' AND ${this.isOfTheDead}`);
  }

  /** To be called once nothing of the slot is left in Docker. */
  async delete(id: string): Promise<void> {
    await this.database.run(sql`DELETE FROM warm_slots WHERE id = ${id} AND state <> 'ready'`);
  }

  /**
   * Takes the oldest ready slot with one of these keys, in the transaction of the creation: a rollback returns it.
   * Slots that another transaction is taking are passed over.
   *
   * @throws NoSlotError
   */
  async take(keys: readonly string[]): Promise<WarmSlot> {
    const query = this.query().where("s.state = 'ready' AND s.key IN (:...keys)", { keys });
    query.orderBy('s.madeAt').limit(1);
    if (!this.database.isSqlite) query.setLock('pessimistic_write').setOnLocked('skip_locked');
    const slot = await query.getOne();
    if (slot === null) throw new NoSlotError('no slot is ready');
    await this.database.run(sql`DELETE FROM warm_slots WHERE id = ${slot.id}`);
    return slot;
  }

  /** The nodes (null: the single machine) and keys of the slots that are ready for such a container. */
  async readyFor(
    wanted: Pick<WarmSlot, 'image' | 'memoryMb' | 'cpuShares' | 'diskMb'>,
  ): Promise<{ node: string | null; key: string }[]> {
    return this.query()
      .select('s.node_id', 'node')
      .addSelect('s.key', 'key')
      .distinct()
      .where("s.state = 'ready' AND s.image = :image", wanted)
      .andWhere('s.memoryMb = :memoryMb AND s.cpuShares = :cpuShares AND s.diskMb = :diskMb', wanted)
      .getRawMany<{ node: string | null; key: string }>();
  }

  /** All slots, the oldest first. */
  async all(): Promise<HeldSlot[]> {
    const query = this.query().orderBy('s.madeAt').addOrderBy('s.id');
    if (this.database.isSqlite) {
      const slots = await query.getMany();
      return slots.map((slot) => ({ slot, isAbandoned: slot.holder !== this.presence.holder }));
    }
    const { entities, raw } = await query
      .addSelect(isAbsentSql('s.holder'), 'absent')
      .getRawAndEntities<{ absent: boolean }>();
    return entities.map((slot, at) => ({ slot, isAbandoned: raw[at]?.absent === true }));
  }

  private get isOfTheDead(): Sql {
    return sql.by({ sqlite: sql`holder <> ${this.holder}`, postgres: sql.raw(isAbsentSql('holder')) });
  }

  private query(): SelectQueryBuilder<WarmSlotEntity> {
    return this.database.manager.createQueryBuilder(WarmSlotEntity, 's');
  }
}
