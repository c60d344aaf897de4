import type { SshKeyView, SshServerView } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { ask, Dialog } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Ago, Empty, LinesField, Listing, PageHead, RemoveCell, Shown, TextField, useLoaded } from '../ui/parts';

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
  const loaded = useLoaded(readAccess);
  const [isAdding, setAdding] = useState(false);
  const remove = ({ id, name }: SshKeyView): void =>
    ask({
      title: `Delete “${name}”?`,
      text: 'Its open connections end, and a login with this key is refused from then on.',
      action: 'Delete',
      run: async () => {
        await berth.ssh.deleteKey(id);
        await loaded.reload();
      },
    });
  return (
    <>
      <PageHead title="SSH keys" aside={<span class="muted">What ssh, scp and editors sign in with</span>}>
        <button type="button" class="button" onClick={() => setAdding(true)}>
          <PlusIcon /> Add a key
        </button>
      </PageHead>
      <Shown of={loaded}>
        {({ keys, server }) => (
          <>
            <p class="muted">
              {server === null ? (
                'This server serves no SSH: its operator turns it on with SSH_PORT.'
              ) : (
                <span class="mono">
                  ssh NAME@{server.host ?? location.hostname} -p {server.port}
                </span>
              )}
            </p>
            <Listing
              items={[...keys]}
              caption="Your SSH keys, the oldest first"
              columns={['Name', 'Fingerprint', 'Used', 'Expires']}
              hasActions
              empty={<Empty title="No SSH keys" />}
            >
              {(key) => (
                <tr key={key.id}>
                  <td>
                    <strong>{key.name}</strong> <span class="chip">{key.type}</span>
                  </td>
                  <td class="mono muted">{key.fingerprint}</td>
                  <td class="muted nowrap" data-name="used">
                    {key.last_used_at === null ? 'not yet' : <Ago time={key.last_used_at} />}
                  </td>
                  <td class="muted nowrap" data-name="expires">
                    {key.expires_at === null ? 'never' : <Ago time={key.expires_at} />}
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
    <Dialog title="Add an SSH key" action="Add" onClose={onClose} onSubmit={submit}>
      <TextField
        label="Name"
        hint="To recognise it by: laptop"
        fault={faultOf(fault, 'name')}
        input={{ maxLength: 64, autoComplete: 'off' }}
        value={name}
        onValue={setName}
      />
      <LinesField
        label="Public key"
        hint="The line of ~/.ssh/id_ed25519.pub. The key ends with this session’s token, if that ends."
        fault={faultOf(fault, 'public_key')}
        rows={4}
        autoComplete="off"
        value={line}
        onValue={setLine}
      />
    </Dialog>
  );
}
