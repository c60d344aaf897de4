import type { JSX } from 'preact';
import { commonWords } from '../words/common';
import { tokenFieldWords } from '../words/token-fields';
import { Field } from './parts';

const { scopes: SCOPE_WORDS, expiry: EXPIRY_WORDS } = tokenFieldWords;

export type Grantable = 'read' | 'write' | 'exec' | 'admin';

/** The scopes that a token can have, with what each allows. */
export const SCOPES: readonly (readonly [Grantable, string])[] = [
  ['read', SCOPE_WORDS.read],
  ['write', SCOPE_WORDS.write],
  ['exec', SCOPE_WORDS.exec],
  ['admin', SCOPE_WORDS.admin],
];

const DAY_MS = 24 * 3_600_000;
const EXPIRIES = [1, 7, 30, 90, 365] as const;

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
      <legend class="label">{SCOPE_WORDS.title}</legend>
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
  const offered = EXPIRIES.filter((each) => latest === null || each * DAY_MS < latest - Date.now());
  return (
    <Field label={EXPIRY_WORDS.title} {...(hint !== undefined && { hint })} fault={fault}>
      {(of) => (
        <select {...of} class="input" value={days} onChange={(event) => onDays(event.currentTarget.value)}>
          <option value="">{isLimited ? EXPIRY_WORDS.latest : commonWords.never}</option>
          {offered.map((each) => (
            <option key={each} value={each}>
              {EXPIRY_WORDS.inDays[each]}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
