import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Database } from '../../database';
import { EngineIdentity } from '../../engine';
import { LOGGER } from '../../logging';
import { Clock } from '../../scheduling';
import { NodeEntity, type NodeRow } from '../model/node.entity';

/** How long a node is avoided at first; doubled at each further failure, up to `LONGEST_MS`. */
const AVOIDED_MS = 5 * 60_000;
const LONGEST_MS = 60 * 60_000;

/** The columns of a node that is not avoided. */
export const WELL = { avoidedUntil: null, avoidedBecause: null, faults: 0 } as const;

type Sickness = Pick<NodeRow, 'id' | 'name' | 'avoidedUntil' | 'avoidedBecause' | 'faults'>;

/**
 * The nodes on which creations fail although they answer, such as one with a full disk. Nothing runs there, so such a
 * node would be the least full, and the first choice for each next creation. Therefore it is avoided for a while:
 * used only if no other node has room. The state is in the node's row, which all processes read every few seconds.
 */
@Injectable()
export class SickNodes {
  /** Nodes on which a creation failed and none has succeeded since, by id. */
  private known: ReadonlyMap<string, Sickness> = new Map();

  constructor(
    private readonly database: Database,
    private readonly identity: EngineIdentity,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Replaces the known state by the current rows. */
  follow(rows: readonly NodeRow[]): void {
    const sick = rows.filter(({ faults, forgottenAt }) => faults > 0 && forgottenAt === null);
    this.known = new Map(sick.map((row) => [row.id, row]));
    const now = this.clock.now();
    this.identity.noteNodes(sick.flatMap((row) => (isAvoided(row, now) ? noticeOf(row) : [])));
  }

  isAvoided(id: string): boolean {
    const node = this.known.get(id);
    return node !== undefined && isAvoided(node, this.clock.now());
  }

  /**
   * Marks a node as avoided, unless it is already. Of several concurrent failures on a node, only the first counts.
   *
   * @param because `no_space`, or the error's code
   * @throws the database's error
   */
  async note(id: string, because: string, error: unknown): Promise<void> {
    const { manager } = this.database;
    const row = await manager.findOneBy(NodeEntity, { id });
    const now = this.clock.now();
    if (row === null || isAvoided(row, now)) return;
    const ms = Math.min(AVOIDED_MS * 2 ** row.faults, LONGEST_MS);
    const sick = { avoidedUntil: new Date(now.getTime() + ms), avoidedBecause: because, faults: row.faults + 1 };
    const result = await manager.update(NodeEntity, { id, faults: row.faults }, sick);
    if (result.affected !== 1) return;
    this.logger.error(
      { err: error, node: row.name, reason: because, until: sick.avoidedUntil },
      'creations fail on a node; others are preferred for a while',
    );
    await this.read();
  }

  /**
   * Ends the avoidance: a creation succeeded there, or an administrator activated the node.
   *
   * @throws the database's error
   */
  async noteWell(id: string): Promise<void> {
    const node = this.known.get(id);
    if (!node) return;
    await this.database.manager.update(NodeEntity, { id }, WELL);
    this.logger.info({ node: node.name }, 'creations succeed again on a node');
    await this.read();
  }

  private async read(): Promise<void> {
    this.follow(await this.database.manager.find(NodeEntity));
  }
}

/** Whether containers are placed on the node only if no other node has room. */
export function isAvoided<Row extends Pick<NodeRow, 'avoidedUntil'>>(
  row: Row,
  now: Date,
): row is Row & { readonly avoidedUntil: Date } {
  return row.avoidedUntil !== null && row.avoidedUntil > now;
}

function noticeOf({ name, avoidedUntil, avoidedBecause }: Sickness & { readonly avoidedUntil: Date }): string {
  return (
    `Creations fail on the node ${name} (${avoidedBecause ?? ''}): until ${avoidedUntil.toISOString()}, new containers are placed ` +
    "there only if no other node has room. See the server's log for the reason. After fixing it, an " +
    'administrator activates ' +
    `it: POST /api/admin/nodes/${name}/activate.`
  );
}
