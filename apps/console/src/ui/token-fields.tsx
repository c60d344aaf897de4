import type { JSX } from 'preact';
import { Field } from './parts';

export type Grantable = 'read' | 'write' | 'exec' | 'admin';

/** The scopes that a token can have, with what each allows. */
export const SCOPES: readonly (readonly [Grantable, string])[] = [
  ['read', 'see containers, events and usage'],
  ['write', 'create, change and delete containers, and sign in here'],
  ['exec', 'run commands, terminals and file transfers in containers'],
  ['admin', 'administer this server: all containers and users'],
];

const DAY_MS = 24 * 3_600_000;
const EXPIRIES: readonly (readonly [days: number, words: string])[] = [
  [1, 'in a day'],
  [7, 'in a week'],
  [30, 'in 30 days'],
  [90, 'in 90 days'],
  [365, 'in a year'],
];

interface ScopesFieldProps {
  readonly offered?: typeof SCOPES;
  readonly scopes: readonly Grantable[];
  readonly fault: string | undefined;
  readonly onScopes: (scopes: readonly Grantable[]) => void;
}

/** The scopes of a new token as checkboxes. */
export function ScopesField({ offered = SCOPES, scopes, fault, onScopes }: ScopesFieldProps): JSX.Element {
  return (
    <fieldset class="field">
      <legend class="label">What the token allows</legend>
      {offered.map(([scope, words]) => (
        <label key={scope} class="check">
          <input
            type="checkbox"
            checked={scopes.includes(scope)}
            onChange={(event) =>
              onScopes(event.currentTarget.checked ? [...scopes, scope] : scopes.filter((each) => each !== scope))
            }
          />
          <span>
            <strong>{scope}</strong> <span class="muted">{words}</span>
          </span>
        </label>
      ))}
      {fault !== undefined && <span class="fault">{fault}</span>}
    </fieldset>
  );
}

interface ExpiryFieldProps {
  readonly hint: string | undefined;
  readonly fault: string | undefined;
  /** Whether the token ends with another one, if no days are given. */
  readonly isLimited: boolean;
  /** The latest end that can be chosen, in milliseconds since 1970; null: any. */
  readonly latest: number | null;
  /** The chosen days as text; empty if none are chosen. */
  readonly days: string;
  readonly onDays: (days: string) => void;
}

/** The days until a new token expires. */
export function ExpiryField({ hint, fault, isLimited, latest, days, onDays }: ExpiryFieldProps): JSX.Element {
  const offered = EXPIRIES.filter(([each]) => latest === null || each * DAY_MS < latest - Date.now());
  return (
    <Field label="The token expires" {...(hint !== undefined && { hint })} fault={fault}>
      {(of) => (
        <select {...of} class="input" value={days} onChange={(event) => onDays(event.currentTarget.value)}>
          <option value="">{isLimited ? 'as late as possible' : 'never'}</option>
          {offered.map(([each, words]) => (
            <option key={each} value={each}>
              {words}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
