import { dataSourceOptions } from '../../ormconfig';
import { TokenService, UserService } from '../auth';
import type { Config } from '../config';
import { connect, Database, DatabaseClock } from '../database';
import { DomainError } from '../errors';
import { Clock } from '../scheduling/clock';
import { LocalSignals } from '../signals';
import { loadTiers, TiersService } from '../tiers';
import { parseTokenArguments, TOKEN_USAGE, TokenArguments } from './token-arguments';

/** The exit code and output of the command. */
interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const DAY = 24 * 3_600_000;

/**
 * Creates a token directly in the database. A server may be running on it: the command connects, migrates if needed,
 * writes and disconnects, and holds no lock in between.
 *
 * @throws ConfigError and database errors
 */
export async function runTokenCommand(args: readonly string[], config: Config): Promise<CommandResult> {
  const tiers = new TiersService(loadTiers(config));
  const parsed = parseTokenArguments(args, tiers);
  if ('faults' in parsed) {
    return { exitCode: 2, stdout: '', stderr: `${parsed.faults.join('\n')}\n\n${TOKEN_USAGE}` };
  }
  const { DATABASE_URL, OPERATION_CLAIM_SECONDS } = config;
  const dataSource = await connect({ ...dataSourceOptions(DATABASE_URL, OPERATION_CLAIM_SECONDS), logging: false });
  try {
    const clock = new Clock();
    const databaseClock = await DatabaseClock.establish(dataSource, clock);
    databaseClock.onApplicationShutdown();
    return await issueToken({ asked: parsed, database: new Database(dataSource), tiers, clock });
  } catch (error) {
    if (error instanceof DomainError && error.kind === 'username_taken') return takenByGuest(parsed.user, error);
    throw error;
  } finally {
    await dataSource.destroy();
  }
}

function takenByGuest(name: string, { options }: DomainError): CommandResult {
  const id = String(options.fields?.['user_id']);
  const stderr =
    `${name} is a guest, whose token would give access to everything of the user: choose another name, ` +
    `or convert the guest to a user (PATCH /api/admin/users/${id})\n`;
  return { exitCode: 2, stdout: '', stderr };
}

async function issueToken(work: {
  asked: TokenArguments;
  database: Database;
  tiers: TiersService;
  clock: Clock;
}): Promise<CommandResult> {
  const { asked, database, tiers, clock } = work;
  const signals = new LocalSignals();
  const users = new UserService(database, tiers, clock, signals);
  const { user, previousTier } = await users.ensure({
    username: asked.user,
    tier: asked.tier,
  });
  const { text } = await new TokenService(database, signals, users, clock).issue({
    userId: user.id,
    name: asked.name,
    format: asked.format,
    scopes: asked.isFirstAdmin && (await users.isFirst(user.id)) ? [...asked.scopes, 'admin'] : asked.scopes,
    expiresAt: asked.expiresInDays === null ? null : new Date(clock.now().getTime() + asked.expiresInDays * DAY),
  });
  const moved = previousTier === null ? '' : `${user.username} was moved from tier ${previousTier} to ${user.tier}\n`;
  return { exitCode: 0, stdout: `${text}\n`, stderr: moved };
}
