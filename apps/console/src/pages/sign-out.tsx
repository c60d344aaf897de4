import type { TokenView } from '@berth/client';
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth } from '../data/berth';
import { at } from '../words/format';
import { session, signOutEverywhere } from '../session';
import { signOutWords } from '../words/sign-out';
import { Dialog } from '../ui/dialog';

/** Tokens that were made in this session and go on after it, while it is asked what becomes of them. */
const leftBehind = signal<readonly TokenView[] | null>(null);

/** Ends the session; asks first where tokens that were made in it would go on. */
export async function signOut(): Promise<void> {
  const made = session.value?.made ?? [];
  const left = made.length === 0 ? [] : await liveOf(made);
  if (left.length > 0) leftBehind.value = left;
  else await end();
}

/** The tokens among these that are still valid; none if the server does not answer, so that the sign-out goes on. */
async function liveOf(made: readonly string[]): Promise<readonly TokenView[]> {
  const tokens = await berth.tokens.list().catch(() => []);
  const now = Date.now();
  return tokens.filter(
    ({ id, expires_at }) => made.includes(id) && (expires_at === null || Date.parse(expires_at) > now),
  );
}

/** Here, in other tabs, and on the server where the session's token was made for it. */
async function end(): Promise<void> {
  const mine = session.value;
  if (mine?.tokenId) {
    await berth.tokens.revoke(mine.tokenId).catch(() => undefined);
  }
  leftBehind.value = null;
  signOutEverywhere();
}

/** Where {@link signOut} asks. */
export function SignOutQuestion(): JSX.Element | null {
  const tokens = leftBehind.value;
  return tokens && <SignOutDialog tokens={tokens} />;
}

function SignOutDialog({ tokens }: { readonly tokens: readonly TokenView[] }): JSX.Element {
  const [isRevoking, setRevoking] = useState(false);
  const submit = async (): Promise<void> => {
    if (isRevoking) for (const { id } of tokens) await berth.tokens.revoke(id);
    await end();
  };
  return (
    <Dialog
      title={signOutWords.title}
      action={signOutWords.action}
      onClose={() => (leftBehind.value = null)}
      onSubmit={submit}
    >
      <p>{signOutWords.left}</p>
      <ul>
        {tokens.map(({ id, name, expires_at }) => (
          <li key={id}>
            <strong>{name}</strong>{' '}
            <span class="muted">
              {expires_at === null ? signOutWords.untilRevoked : signOutWords.until(at(expires_at))}
            </span>
          </li>
        ))}
      </ul>
      <label class="check">
        <input type="checkbox" checked={isRevoking} onChange={(event) => setRevoking(event.currentTarget.checked)} />
        <span>{signOutWords.revoke}</span>
      </label>
    </Dialog>
  );
}
