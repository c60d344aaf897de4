import type { CreatedTokenView, TokenView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { at } from '../words/format';
import { containers, me } from '../data/live';
import { noteMade, session } from '../session';
import { ask, Dialog } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Ago, Empty, Field, Listing, PageHead, RemoveCell, Secret, Shown, TextField, useLoaded } from '../ui/parts';
import { ExpiryField, type Grantable, SCOPES, ScopesField } from '../ui/token-fields';
import { commonWords } from '../words/common';
import { tokenWords } from '../words/tokens';
import { SshKeys } from './ssh-keys';

/** The user's tokens, and SSH keys. */
export function Tokens(): JSX.Element {
  const { columns } = tokenWords;
  const loaded = useLoaded(() => berth.tokens.list());
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState<CreatedTokenView | null>(null);
  const revoke = ({ id, name }: TokenView): void =>
    ask({
      title: tokenWords.revoke.title(name),
      text: id === session.value?.tokenId ? tokenWords.revoke.textOfThisSession : tokenWords.revoke.text,
      action: tokenWords.revoke.action,
      run: async () => {
        await berth.tokens.revoke(id);
        await loaded.reload();
      },
    });
  return (
    <>
      <PageHead title={tokenWords.title} aside={<span class="muted">{tokenWords.about}</span>}>
        <button
          type="button"
          class="button primary"
          // How long a token may last is known by the token of this session.
          disabled={loaded.value === undefined && loaded.fault === undefined}
          onClick={() => setMaking(true)}
        >
          <PlusIcon /> {tokenWords.new}
        </button>
      </PageHead>
      <Shown of={loaded}>
        {(tokens) => (
          <Listing
            items={tokens}
            caption={tokenWords.caption}
            columns={[commonWords.name, columns.prefix, columns.scopes, commonWords.created, columns.expires]}
            hasActions
            empty={<Empty title={tokenWords.empty} />}
          >
            {(token) => (
              <tr key={token.id}>
                <td>
                  <strong>{token.name}</strong>{' '}
                  {token.id === session.value?.tokenId && <span class="chip">{tokenWords.ofThisSession}</span>}{' '}
                  {token.container && <span class="chip">{accessOf(token.container)}</span>}
                </td>
                <td class="mono muted">{token.token_prefix}…</td>
                <td>
                  <span class="chips">
                    {token.scopes.map((scope) => (
                      <span key={scope} class="chip">
                        {scope}
                      </span>
                    ))}
                  </span>
                </td>
                <td class="muted nowrap" data-name="created">
                  <Ago time={token.created_at} />
                </td>
                <td class="muted nowrap" data-name="expires">
                  {token.expires_at === null ? commonWords.never : <Ago time={token.expires_at} />}
                </td>
                <RemoveCell verb={tokenWords.revoke.action} name={token.name} onClick={() => revoke(token)} />
              </tr>
            )}
          </Listing>
        )}
      </Shown>
      <SshKeys />
      {isMaking && (
        <NewToken
          own={loaded.value?.find(({ token_prefix }) => session.value?.token.startsWith(token_prefix))}
          onClose={() => setMaking(false)}
          onMade={(token) => {
            noteMade(token.id);
            setMade(token);
            void loaded.reload();
          }}
        />
      )}
      {made && (
        <Dialog
          title={tokenWords.made.title(made.name)}
          action={tokenWords.made.done}
          isLast
          onClose={() => setMade(null)}
        >
          <p>{tokenWords.made.text}</p>
          <Secret text={made.token} label={tokenWords.made.secret} />
          {made.token.startsWith('e2b_') && <p>{tokenWords.made.forE2b(location.origin)}</p>}
          {made.expires_at !== null && <p class="muted">{tokenWords.made.expires(at(made.expires_at))}</p>}
        </Dialog>
      )}
    </>
  );
}

/** The container that a token is for, by its name; by its id once it is deleted. */
function accessOf({ id, forks }: NonNullable<TokenView['container']>): string {
  const name = containers.value.find(({ db_id }) => db_id === id)?.name ?? id.slice(0, 8);
  return forks ? tokenWords.onlyForForksToo(name) : tokenWords.onlyFor(name);
}

const FORMATS = ['berth', 'e2b'] as const;
type Format = (typeof FORMATS)[number];

interface NewTokenProps {
  /** The token of this session; undefined where it is not among them. */
  readonly own: TokenView | undefined;
  readonly onClose: () => void;
  readonly onMade: (token: CreatedTokenView) => void;
}

function NewToken({ own, onClose, onMade }: NewTokenProps): JSX.Element {
  const words = tokenWords.create;
  const held = me.value?.scopes ?? [];
  const offered = SCOPES.filter(([scope]) => held.includes(scope) || (held.includes('admin') && scope !== 'exec'));
  // The server lets no token outlast the one that made it.
  const end = own?.expires_at ? Date.parse(own.expires_at) : null;
  const hint = end === null ? words.expiryHint : words.limitedExpiryHint(at(new Date(end).toISOString()));
  const [name, setName] = useState('');
  const [scopes, setScopes] = useState<readonly Grantable[]>(
    offered.map(([scope]) => scope).filter((scope) => scope !== 'admin'),
  );
  const [days, setDays] = useState('');
  const [format, setFormat] = useState<Format>('berth');
  const [container, setContainer] = useState('');
  const [forks, setForks] = useState(false);
  const [fault, setFault] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    try {
      const only = container === '' ? {} : { container, forks };
      const expires = days === '' ? {} : { expires_in: Number(days) };
      onMade(await berth.tokens.create({ name: name.trim(), scopes: [...scopes], format, ...expires, ...only }));
    } catch (error) {
      setFault(error);
      throw error;
    }
  };
  return (
    <Dialog title={tokenWords.new} action={commonWords.create} onClose={onClose} onSubmit={submit}>
      <TextField
        label={commonWords.name}
        hint={words.nameHint}
        fault={faultOf(fault, 'name')}
        input={{ maxLength: 64, autoComplete: 'off' }}
        value={name}
        onValue={setName}
      />
      <ScopesField offered={offered} scopes={scopes} fault={faultOf(fault, 'scopes')} onScopes={setScopes} />
      <ExpiryField
        hint={hint}
        fault={faultOf(fault, 'expires_in')}
        isLimited={end !== null}
        latest={end}
        days={days}
        onDays={setDays}
      />
      <Field label={words.access} hint={words.accessHint} fault={faultOf(fault, 'container')}>
        {(of) => (
          <select
            {...of}
            class="input"
            value={container}
            onChange={({ currentTarget }) => setContainer(currentTarget.value)}
          >
            <option value="">{words.everything}</option>
            {containers.value.map(({ db_id, name: only }) => (
              <option key={db_id} value={db_id}>
                {words.onlyFor(only)}
              </option>
            ))}
          </select>
        )}
      </Field>
      {container !== '' && (
        <label class="check">
          <input type="checkbox" checked={forks} onChange={(event) => setForks(event.currentTarget.checked)} />
          <span>{words.forks}</span>
        </label>
      )}
      <Field label={words.format} fault={faultOf(fault, 'format')}>
        {(of) => (
          <select
            {...of}
            class="input"
            value={format}
            onChange={({ currentTarget }) => setFormat(currentTarget.value as Format)}
          >
            {FORMATS.map((each) => (
              <option key={each} value={each}>
                {words.formats[each]}
              </option>
            ))}
          </select>
        )}
      </Field>
    </Dialog>
  );
}
