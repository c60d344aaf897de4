import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Database, readTime } from '../database';
import { ContainerEntity, type ContainerRow } from './container.entity';

/** What a sweep compares with Docker. */
export type SweptRow = Pick<
  ContainerRow,
  'id' | 'status' | 'dockerId' | 'volumeName' | 'runStartedAt' | 'operation' | 'operationExpiresAt'
>;

/** How many rows are read in one go: some milliseconds' work. */
const PAGE = 1000;

/** Reads every live row, a page at a time: requests are served in between. A row that is there all the while is in it. */
export async function* readSweptRows(database: Database): AsyncGenerator<SweptRow[]> {
  for (let after = ''; ;) {
    const page = await database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .select(['c.id AS id', 'c.status AS status', 'c.operation AS operation'])
      .addSelect('c.docker_id', 'dockerId')
      .addSelect('c.volume_name', 'volumeName')
      .addSelect('c.run_started_at', 'runStartedAt')
      .addSelect('c.operation_expires_at', 'operationExpiresAt')
      .where('c.deletedAt IS NULL AND c.id > :after', { after })
      .orderBy('c.id')
      .limit(PAGE)
      .getRawMany<SweptRow>();
    yield page.map((row) => ({ ...row, operationExpiresAt: readTime(row.operationExpiresAt) }));
    const last = page.at(-1);
    if (!last || page.length < PAGE) return;
    after = last.id;
    await nextTurn();
  }
}
