import type { SelectQueryBuilder } from 'typeorm';
import { Database, type Parameter, RowWriter, type StatementPart } from '../database';
import { type EventDraft, EventLog, UNDER_OWNER, UNDISTURBED } from '../events';
import type { Claim } from './capacity/reserved-capacity';
import { ContainerEntity, type ContainerRow } from './container.entity';

/**
 * Changes of containers as single statements of PostgreSQL, each a transaction by itself: most creations, and most ends
 * of operations. At each round trip of a longer one both ends wait for a processor, while Docker works.
 */
export class AtOnce {
  private readonly rows: RowWriter<ContainerEntity>;

  constructor(
    private readonly database: Database,
    private readonly events: EventLog,
  ) {
    this.rows = new RowWriter(database, ContainerEntity);
  }

  /**
   * Inserts a container with its event, if there is room for it.
   *
   * What is counted is as of the statement's beginning. That is exact unless somebody has written an event of the
   * user's since, as whatever adds a container does.
   *
   * @param options.count counts the user's containers, which have to be fewer than `limit`
   * @returns the row as inserted, on the machine that was claimed; null if nothing is written: what stands against it
   *   is to be found under the user's lock
   * @throws what a unique index throws
   */
  async insert(
    row: ContainerRow,
    options: { count: SelectQueryBuilder<ContainerEntity>; limit: number; claim: Claim; event: EventDraft },
  ): Promise<ContainerRow | null> {
    const [count, parameters] = options.count.select('COUNT(*)').getQueryAndParameters();
    const limit = `$${String(parameters.push(options.limit))}`;
    const { update, before, node } = options.claim;
    const claimed = `UPDATE ${update} AND ${UNDISTURBED} AND (${count}) < ${limit}::bigint RETURNING ${node} AS node`;
    const placed = this.rows.positionOf('nodeId');
    const values = this.rows
      .valuesOf(row)
      .map((value, at) => (at === placed ? 'claimed.node' : `$${String(parameters.push(value))}`));
    const change = {
      before: [...before, `claimed AS (${claimed})`],
      sql: `${this.rows.insertInto} SELECT ${values.join(', ')} FROM claimed RETURNING node_id`,
      parameters,
    };
    const { userId } = row;
    const inserted = await this.database.runStatementLocking(userId, () =>
      this.events.appendWith({ userId, drafts: [options.event] }, change),
    );
    return inserted && { ...row, nodeId: inserted['node_id'] as string | null };
  }

  /**
   * Updates a container, with the events and what else is written with it.
   *
   * @param change.where an SQL condition: that the row is as it was read
   * @param change.also in the order in which what others wait for is to be locked
   * @returns false if the condition does not hold; then nothing is written
   * @throws what a unique index throws
   */
  async write(
    { userId }: Pick<ContainerRow, 'userId'>,
    change: {
      set: Partial<ContainerRow>;
      where: (parameter: Parameter) => string;
      events: readonly EventDraft[];
      also: readonly StatementPart[];
    },
  ): Promise<boolean> {
    const where = (place: Parameter): string => `${change.where(place)} AND ${UNDER_OWNER}`;
    const { sql: update, parameters } = this.rows.updateStatement(change.set, where);
    const parameter = (value: string | Date): string =>
      `$${String(parameters.push(value))}::${value instanceof Date ? 'timestamptz' : 'varchar'}`;
    const also = change.also.map((part, at) => {
      // Counted, as a part of which only a beginning is read is finished later.
      const when = `(SELECT COUNT(*) FROM ${at === 0 ? 'changed' : `also_${String(at - 1)}`}) > 0`;
      return `also_${String(at)} AS (${part({ when, parameter })} RETURNING 1)`;
    });
    const sql = `${update} RETURNING 1`;
    const written = await this.database.runStatementLocking(userId, () =>
      this.events.appendWith({ userId, drafts: change.events }, { sql, parameters, also }),
    );
    return written !== null;
  }
}
