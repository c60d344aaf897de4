import type { FieldFault } from '../errors';
import type { TiersService } from '../tiers';

/** Who a user is to be. */
export interface NamedUser {
  readonly username: string;
  /** A key of the tier table. */
  readonly tier: string;
}

const USERNAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;
const NAME_RULE = 'must be 1 to 64 of letters, digits, ".", "_", "@" and "-", and begin with a letter or digit';

/** @returns what is wrong with the name and the tier; empty if nothing is */
export function userFaults({ username, tier }: NamedUser, tiers: TiersService): FieldFault[] {
  const faults: FieldFault[] = [];
  if (!USERNAME.test(username)) faults.push({ field: 'username', message: NAME_RULE });
  if (!tiers.has(tier)) {
    const names = tiers.all().map(({ name }) => name);
    faults.push({ field: 'tier', message: `must be one of ${names.join(', ')}` });
  }
  return faults;
}
