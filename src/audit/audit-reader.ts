import { Injectable } from '@nestjs/common';
import { holdsScope, insufficientScope, type Principal } from '../auth';
import { Database, likePattern, type PageRange } from '../database';
import { readPage } from '../http';
import { AuditEntryEntity } from './audit-entry.entity';
import { AuditListView, viewEntry } from './dto/audit-view';
import type { ListAuditDto } from './dto/list-audit.dto';

/** Shows audit entries to the users whom they concern. */
@Injectable()
export class AuditReader {
  constructor(private readonly database: Database) {}

  /**
   * The caller's actions, and the actions on the caller's resources, newest first. With the scope `admin`, optionally
   * those of all users or of another user.
   *
   * @throws DomainError `insufficient_permissions`, `invalid_parameters`
   */
  async list(caller: Principal, query: Readonly<ListAuditDto>): Promise<AuditListView> {
    const isAdmin = holdsScope(caller, 'admin');
    const asksForOthers = query.all === 'true' || query.user_id !== undefined;
    if (asksForOthers && !isAdmin) throw insufficientScope('admin');
    const userId = query.user_id ?? (query.all === 'true' ? null : caller.userId);
    const page = await readPage(
      query,
      ({ limit, after }) => this.read({ ...query, userId, limit, ...(after && { after }) }),
      ({ at, id }) => ({ createdAt: at, id }),
    );
    const viewer = isAdmin ? null : caller.userId;
    return { entries: page.items.map((entry) => viewEntry(entry, viewer)), next_cursor: page.next_cursor };
  }

  private read(
    filter: PageRange & {
      /** null: entries of all users. */
      readonly userId: string | null;
    } & Pick<ListAuditDto, 'container_id' | 'action' | 'outcome' | 'from' | 'to'>,
  ): Promise<AuditEntryEntity[]> {
    const { userId, container_id: containerId, action, outcome, from, to } = filter;
    const query = this.database.manager.createQueryBuilder(AuditEntryEntity, 'a').where('1 = 1');
    if (userId !== null) query.andWhere('(a.userId = :userId OR a.subjectUserId = :userId)', { userId });
    if (containerId !== undefined) query.andWhere('a.containerId = :containerId', { containerId });
    if (action?.includes('.')) query.andWhere('a.action = :action', { action });
    else if (action !== undefined) {
      query.andWhere("LOWER(a.action) LIKE :action ESCAPE '!'", { action: likePattern(`${action}.`, 'at the start') });
    }
    if (outcome === 'failed') query.andWhere("a.outcome NOT IN ('ok', 'pending')");
    else if (outcome !== undefined) query.andWhere('a.outcome = :outcome', { outcome });
    if (from !== undefined) query.andWhere('a.at >= :from', { from: this.database.timestamp(new Date(from)) });
    if (to !== undefined) query.andWhere('a.at < :to', { to: this.database.timestamp(new Date(to)) });
    return this.database.newestFirst(query, 'at', filter);
  }
}
