import { parseArgs } from 'node:util';
import { type RouteScope, TOKEN_FORMATS, type TokenFormat, userFaults, USUAL_SCOPES } from '../auth';
import type { TiersService } from '../tiers';

export const TOKEN_USAGE = `Usage: npm run -s token -- --user NAME --tier TIER [--scopes read,write,exec] [--expires-in DAYS] [--name NAME]
                            [--format berth|e2b] [--first-is-admin]

Creates a token, and the user if it does not exist, and prints the token.

  --user NAME         owner of the token
  --tier TIER         the user's tier; an existing user is moved to it
  --scopes LIST       any of read, write, exec and admin (default: read,write,exec)
                      admin: users, all containers, images and nodes: docs/operations.md
                      exec: commands, terminals and files in the user's own containers; admin does not imply it
  --expires-in DAYS   1 to 3650 (default: the token does not expire)
  --name NAME         name to identify the token (default: cli)
  --format FORMAT     berth or e2b: the form that clients of E2B require (default: berth)
  --first-is-admin    add the scope admin if this is the first user of the installation, not counting guests
`;

const SCOPES: readonly RouteScope[] = ['read', 'write', 'exec', 'admin'];

export interface TokenArguments {
  readonly user: string;
  readonly tier: string;
  readonly scopes: readonly RouteScope[];
  readonly expiresInDays: number | null;
  readonly name: string;
  readonly format: TokenFormat;
  /** Adds the scope `admin` to a token of the installation's first user. */
  readonly isFirstAdmin: boolean;
}

/** @returns the arguments, or all their faults */
export function parseTokenArguments(
  args: readonly string[],
  tiers: TiersService,
): TokenArguments | { faults: string[] } {
  const option = { type: 'string' } as const;
  const { values, tokens } = parseArgs({
    args: [...args],
    options: {
      user: option,
      tier: option,
      scopes: option,
      'expires-in': option,
      name: option,
      format: option,
      'first-is-admin': { type: 'boolean' },
    },
    strict: false,
    tokens: true,
  });
  const text = (key: keyof typeof values): string | undefined => {
    const value = values[key];
    return typeof value === 'string' ? value : undefined;
  };
  const faults = tokens.flatMap((token): string[] => {
    if (token.kind === 'positional') return [`unexpected argument: ${token.value}`];
    if (token.kind !== 'option') return [];
    if (!KNOWN.has(token.name)) return [`unknown option: ${token.rawName}`];
    if (token.name === 'first-is-admin') return token.value === undefined ? [] : ['--first-is-admin takes no value'];
    // `--user --tier free`: the parser takes the next option as the value.
    const swallowed = token.inlineValue === false && token.value.startsWith('--');
    return token.value === undefined || token.value === '' || swallowed ? [`${token.rawName} needs a value`] : [];
  });
  const user = text('user');
  const tier = text('tier');
  if (!('user' in values)) faults.push('--user is missing');
  if (!('tier' in values)) faults.push('--tier is missing');
  // Missing arguments are already reported.
  for (const { field, message } of userFaults({ username: user ?? '', tier: tier ?? '' }, tiers)) {
    if (field === 'username' && user) faults.push(`--user ${message}`);
    if (field === 'tier' && tier) faults.push(`--tier ${message}`);
  }

  const scopes = (text('scopes') ?? USUAL_SCOPES.join(',')).split(',').map((scope) => scope.trim());
  if (!scopes.every(isScope)) faults.push(`--scopes must be a list of ${SCOPES.join(', ')}`);
  const days = text('expires-in');
  if (days !== undefined && days !== '' && !(/^\d{1,4}$/.test(days) && Number(days) >= 1 && Number(days) <= 3650)) {
    faults.push('--expires-in must be a whole number of days from 1 to 3650');
  }
  const name = text('name') ?? 'cli';
  if (!/^[^\p{C}]{0,64}$/u.test(name)) faults.push('--name must be at most 64 printable characters');
  const format = TOKEN_FORMATS.find((each) => each === (text('format') ?? 'berth'));
  if (format === undefined) faults.push(`--format must be one of ${TOKEN_FORMATS.join(', ')}`);
  if (format === undefined || faults.length > 0) return { faults };
  return {
    user: user ?? '',
    tier: tier ?? '',
    scopes: [...new Set(scopes.filter(isScope))],
    expiresInDays: days === undefined ? null : Number(days),
    name,
    format,
    isFirstAdmin: 'first-is-admin' in values,
  };
}

const KNOWN: ReadonlySet<string> = new Set([
  'user',
  'tier',
  'scopes',
  'expires-in',
  'name',
  'format',
  'first-is-admin',
]);

function isScope(text: string): text is RouteScope {
  return (SCOPES as readonly string[]).includes(text);
}
