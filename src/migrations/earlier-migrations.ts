import type { QueryRunner } from 'typeorm';

/** The migrations of version 0.1.1, whose result the initial schema of 0.2.0 creates at once. */
export const EARLIER_MIGRATIONS: readonly string[] = [
  'InitialSchema1764000000000',
  'SessionsAndRoles1764100000000',
  'Agents1764100001000',
  'IdempotencyKeys1764100002000',
  'Runs1764100003000',
  'Audit1764100009000',
  'ClaimHolders1764200002000',
  'Labels1764200004000',
  'ReservedCapacity1764300001000',
  'NetworkPolicies1764300002000',
  'Images1764300010000',
  'AbandonedContainers1764300020000',
  'PendingRemovals1764300030000',
  'SuspendedUsers1764300040000',
  'Usage1764300050000',
  'ExecScope1764300065000',
  'HeldPrograms1764300070000',
  'StartCommands1764300080000',
  'AuditDetail1764300090000',
  'NodesOfContainers1764400000000',
  'Nodes1764400010000',
  'SignInCodes1764600000000',
  'Moves1764700000000',
  'NodeVersions1764710000000',
  'SilentNodes1764720000000',
  'OpenNodes1764730000000',
  'NamesInAnyCase1764740000000',
  'SickNodes1764750001000',
  'FormerNodes1764750002000',
];

/** A database that this version cannot migrate. The message tells the operator what to do. */
export class MigrationError extends Error {
  override name = 'MigrationError';
}

/** The names of the migrations that were run on a database, in their order. */
export async function appliedMigrations(queryRunner: QueryRunner): Promise<string[]> {
  const rows = (await queryRunner.query('SELECT name FROM migrations ORDER BY id')) as { name: string }[];
  return rows.map(({ name }) => name);
}

/** @throws MigrationError if migrations of version 0.1.1 or earlier were run on the database */
export async function refuseEarlierDatabase(queryRunner: QueryRunner): Promise<void> {
  const applied = await appliedMigrations(queryRunner);
  if (!applied.some((name) => EARLIER_MIGRATIONS.includes(name))) return;
  throw new MigrationError(
    'the database was made by version 0.1.1 or earlier; stop every server, make a backup, ' +
      'and run `npm run migration:adopt` once (docs/stability.md)',
  );
}
