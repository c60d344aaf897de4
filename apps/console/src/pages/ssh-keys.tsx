import type { SshKeyView, SshServerView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { ask, Dialog } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Ago, Empty, LinesField, Listing, RemoveCell, Shown, TextField, useLoaded } from '../ui/parts';
import { commonWords } from '../words/common';
import { sshKeyWords } from '../words/ssh-keys';

interface SshAccess {
  readonly keys: readonly SshKeyView[];
  /** null where the server serves no SSH. */
  readonly server: SshServerView | null;
}

async function readAccess(): Promise<SshAccess> {
  const [keys, server] = await Promise.all([berth.ssh.keys(), berth.ssh.server().catch(() => null)]);
  return { keys, server };
}

/** The user's SSH keys, and where to connect to. */
export function SshKeys(): JSX.Element {
  const { columns } = sshKeyWords;
  const loaded = useLoaded(readAccess);
  const [isAdding, setAdding] = useState(false);
  const remove = ({ id, name }: SshKeyView): void =>
    ask({
      title: sshKeyWords.remove.title(name),
      text: sshKeyWords.remove.text,
      action: commonWords.delete,
      run: async () => {
        await berth.ssh.deleteKey(id);
        await loaded.reload();
      },
    });
  return (
    <>
      <header class="page-head">
        <div class="grow">
          <h2>{sshKeyWords.title}</h2>
          <span class="muted">{sshKeyWords.about}</span>
        </div>
        <button type="button" class="button" onClick={() => setAdding(true)}>
          <PlusIcon /> {sshKeyWords.add}
        </button>
      </header>
      <Shown of={loaded}>
        {({ keys, server }) => (
          <>
            <p class="muted">
              {server === null ? (
                sshKeyWords.off
              ) : (
                <span class="mono">
                  {sshKeyWords.command({ host: server.host ?? location.hostname, port: server.port })}
                </span>
              )}
            </p>
            <Listing
              items={[...keys]}
              caption={sshKeyWords.caption}
              columns={[commonWords.name, columns.fingerprint, columns.used, columns.expires]}
              hasActions
              empty={<Empty title={sshKeyWords.empty} />}
            >
              {(key) => (
                <tr key={key.id}>
                  <td>
                    <strong>{key.name}</strong> <span class="chip">{key.type}</span>
                  </td>
                  <td class="mono muted wrap-anywhere">{key.fingerprint}</td>
                  <td class="muted nowrap" data-name="used">
                    {key.last_used_at === null ? commonWords.notYet : <Ago time={key.last_used_at} />}
                  </td>
                  <td class="muted nowrap" data-name="expires">
                    {key.expires_at === null ? commonWords.never : <Ago time={key.expires_at} />}
                  </td>
                  <RemoveCell name={key.name} onClick={() => remove(key)} />
                </tr>
              )}
            </Listing>
          </>
        )}
      </Shown>
      {isAdding && <NewKey onClose={() => setAdding(false)} onAdded={() => void loaded.reload()} />}
    </>
  );
}

function NewKey({ onClose, onAdded }: { readonly onClose: () => void; readonly onAdded: () => void }): JSX.Element {
  const words = sshKeyWords.create;
  const [name, setName] = useState('');
  const [line, setLine] = useState('');
  const [fault, setFault] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    try {
      await berth.ssh.createKey({ name: name.trim(), public_key: line.trim() });
      onAdded();
    } catch (error) {
      setFault(error);
      throw error;
    }
  };
  return (
    <Dialog title={words.title} action={words.action} onClose={onClose} onSubmit={submit}>
      <TextField
        label={commonWords.name}
        hint={words.nameHint}
        fault={faultOf(fault, 'name')}
        input={{ maxLength: 64, autoComplete: 'off' }}
        value={name}
        onValue={setName}
      />
      <LinesField
        label={words.publicKey}
        hint={words.publicKeyHint}
        fault={faultOf(fault, 'public_key')}
        rows={4}
        autoComplete="off"
        value={line}
        onValue={setLine}
      />
    </Dialog>
  );
}
