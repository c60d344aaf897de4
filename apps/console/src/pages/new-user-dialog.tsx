import type { UserCreatedView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { asking, berth, faultOf } from '../data/berth';
import { at } from '../words/format';
import { Dialog } from '../ui/dialog';
import { Field, Secret, TextField } from '../ui/parts';
import { ExpiryField, type Grantable, ScopesField } from '../ui/token-fields';
import { commonWords } from '../words/common';
import { newUserWords } from '../words/new-user';

/** How long the link for the first sign-in works, in seconds: the longest that the server takes. */
const LINK_SECONDS = 3600;

/** A new user, and a link that signs them in; null if their token does not allow one. */
export interface CreatedUser extends UserCreatedView {
  readonly link: string | null;
}

/** A link that signs in the new user once. The server makes links for the caller alone, so it is made with the new user's token. */
async function linkOf({ token }: UserCreatedView): Promise<string | null> {
  if (!token.scopes.some((scope) => scope === 'write' || scope === 'admin')) return null;
  const { code } = await asking(token.token).account.createSignInCode({ expires_in: LINK_SECONDS });
  return `${location.origin}/#code=${code}`;
}

interface NewUserDialogProps {
  readonly tiers: readonly string[];
  readonly onClose: () => void;
  readonly onCreated: (created: CreatedUser) => void;
}

/** Creates a user with a token and, where the token allows it, a sign-in link. */
export function NewUserDialog({ tiers, onClose, onCreated }: NewUserDialogProps): JSX.Element {
  const [username, setUsername] = useState('');
  const [tier, setTier] = useState(tiers.find((each) => each !== 'guest') ?? '');
  const [scopes, setScopes] = useState<readonly Grantable[]>(['read', 'write', 'exec']);
  const [days, setDays] = useState('');
  const [fault, setFault] = useState<unknown>(null);
  const isLimited = scopes.includes('admin');

  const submit = async (): Promise<void> => {
    setFault(null);
    try {
      const made = await berth.admin.createUser({
        username: username.trim(),
        tier,
        scopes: [...scopes],
        ...(days !== '' && { expires_in: Number(days) }),
      });
      // The user is there now, whether or not a link can be made: the token must be shown in any case.
      const link = await linkOf(made).catch(() => null);
      onCreated({ ...made, link });
    } catch (error) {
      setFault(error);
      throw error;
    }
  };

  return (
    <Dialog title={newUserWords.title} action={commonWords.create} onClose={onClose} onSubmit={submit}>
      <TextField
        label={commonWords.name}
        hint={newUserWords.nameHint}
        fault={faultOf(fault, 'username')}
        input={{ maxLength: 64, autoComplete: 'off', spellcheck: false }}
        value={username}
        onValue={setUsername}
      />
      <Field label={newUserWords.tier} hint={newUserWords.tierHint} fault={faultOf(fault, 'tier')}>
        {(of) => (
          <select {...of} class="input" value={tier} onChange={(event) => setTier(event.currentTarget.value)}>
            {tiers.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        )}
      </Field>
      <ScopesField scopes={scopes} fault={faultOf(fault, 'scopes')} onScopes={setScopes} />
      <ExpiryField
        hint={isLimited ? newUserWords.expiryHint : undefined}
        fault={faultOf(fault, 'expires_in')}
        isLimited={isLimited}
        latest={null}
        days={days}
        onDays={setDays}
      />
    </Dialog>
  );
}

interface CreatedUserDialogProps {
  readonly of: CreatedUser;
  readonly onClose: () => void;
}

/** The token and the sign-in link of a new user: they are not shown again. */
export function CreatedUserDialog({ of: { user, token, link }, onClose }: CreatedUserDialogProps): JSX.Element {
  const words = newUserWords.created;
  return (
    <Dialog title={words.title(user.username)} action={words.done} isLast onClose={onClose}>
      <p>{link === null ? words.tokenOnly : words.linkAndToken}</p>
      {link !== null && (
        <section class="stack" aria-label={words.link}>
          <p class="small muted">{words.linkUse}</p>
          <Secret text={link} label={words.link} />
        </section>
      )}
      <section class="stack" aria-label={words.token}>
        <p class="small muted">
          {token.expires_at === null ? words.tokenUse : words.tokenUseUntil(at(token.expires_at))}
        </p>
        <Secret text={token.token} label={words.token} />
      </section>
    </Dialog>
  );
}
