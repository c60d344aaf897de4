import { Injectable } from '@nestjs/common';
import { Database } from '../database';

/** How much of their tier users have taken. */
@Injectable()
export class TierUsage {
  constructor(private readonly database: Database) {}

  /**
   * The user's containers that are not deleted, whatever their state. To decide on the count, lock the user's row first
   * and call this in the same transaction.
   */
  containersOf(userId: string): Promise<number> {
    // By the table's name: containers know tiers, and not the other way round. Deleted rows are invisible to a count.
    return this.database.manager.countBy<{ userId: string }>('containers', { userId });
  }

  /** The user's agents that are not deleted, connected or not; for decisions as {@link containersOf}. */
  agentsOf(userId: string): Promise<number> {
    return this.database.manager.countBy<{ userId: string }>('agents', { userId });
  }
}
