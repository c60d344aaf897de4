import type { AgentCreatedView, AgentView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { duration, fraction, megabytes } from '../data/format';
import { agents as online } from '../data/live';
import { ask, Dialog } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Ago, Empty, Listing, PageHead, RemoveCell, Secret, Shown, Status, TextField, useLoaded } from '../ui/parts';

/** The user's own machines. */
export function Agents(): JSX.Element {
  const loaded = useLoaded(() => berth.agents.list());
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState<AgentCreatedView | null>(null);
  // Events report which agents connect and disconnect; everything else about an agent is read again then.
  useEffect(() => void loaded.reload(), [online.value]);
  const remove = ({ id, name }: AgentView): void =>
    ask({
      title: `Delete “${name}”?`,
      text: 'It is disconnected, and its token is worth nothing any more.',
      action: 'Delete',
      run: async () => {
        await berth.containers.delete(id as `agent:${string}`);
        await loaded.reload();
      },
    });
  return (
    <>
      <PageHead title="Agents" aside={<span class="muted">Machines of your own</span>}>
        <button type="button" class="button primary" onClick={() => setMaking(true)}>
          <PlusIcon /> New agent
        </button>
      </PageHead>
      <Shown of={loaded}>
        {(agents) => (
          <Listing
            items={agents}
            caption="Your agents"
            columns={['Name', 'Status', 'System', 'Load', 'Memory', 'Seen']}
            hasActions
            empty={
              <Empty title="No agents">
                <p>An agent makes a machine of your own appear beside your containers, with its load and memory.</p>
                <button type="button" class="button primary" onClick={() => setMaking(true)}>
                  <PlusIcon /> New agent
                </button>
              </Empty>
            }
          >
            {(agent) => <Row key={agent.id} agent={agent} onRemove={() => remove(agent)} />}
          </Listing>
        )}
      </Shown>
      {isMaking && (
        <NewAgent
          onClose={() => setMaking(false)}
          onMade={(agent) => {
            setMade(agent);
            void loaded.reload();
          }}
        />
      )}
      {made && (
        <Dialog title={`Agent “${made.name}”`} action="Done" isLast onClose={() => setMade(null)}>
          <p>Run this on the machine, in a checkout of Berth. The token is shown this once.</p>
          <Secret text={`npm run agent -- --url ${location.origin} --token ${made.token}`} label="The command" />
        </Dialog>
      )}
    </>
  );
}

function Row({ agent, onRemove }: { readonly agent: AgentView; readonly onRemove: () => void }): JSX.Element {
  const { name, description, status, os, arch, load, memory_used_mb, memory_total_mb, uptime_seconds } = agent;
  return (
    <tr>
      <td>
        <div class="two">
          <strong>{name}</strong>
          {description !== null && <span class="small muted">{description}</span>}
        </div>
      </td>
      <td>
        <Status of={status} />
      </td>
      <td class="muted">{[os, arch].filter(Boolean).join(', ') || '–'}</td>
      <td class="muted" data-name="load">
        {load === null ? '–' : load.map(fraction).join(' ')}
      </td>
      <td class="muted nowrap" data-name="memory">
        {memory_used_mb === null || memory_total_mb === null
          ? '–'
          : `${megabytes(memory_used_mb)} of ${megabytes(memory_total_mb)}`}
      </td>
      <td class="muted nowrap">
        {agent.last_seen_at === null ? 'never' : <Ago time={agent.last_seen_at} />}
        {status === 'online' && uptime_seconds !== null && <div class="small">up {duration(uptime_seconds)}</div>}
      </td>
      <RemoveCell name={name} onClick={onRemove} />
    </tr>
  );
}

interface NewAgentProps {
  readonly onClose: () => void;
  readonly onMade: (agent: AgentCreatedView) => void;
}

function NewAgent({ onClose, onMade }: NewAgentProps): JSX.Element {
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [fault, setFault] = useState<unknown>(null);
  const submit = async (): Promise<void> => {
    try {
      onMade(await berth.agents.create({ name: name.trim(), description: description.trim() || null }));
    } catch (error) {
      setFault(error);
      throw error;
    }
  };
  return (
    <Dialog title="New agent" action="Create" onClose={onClose} onSubmit={submit}>
      <TextField
        label="Name"
        hint="Letters, digits and “-”."
        fault={faultOf(fault, 'name')}
        input={{ maxLength: 64, autoComplete: 'off' }}
        value={name}
        onValue={setName}
      />
      <TextField
        label="Description"
        fault={faultOf(fault, 'description')}
        input={{ autoComplete: 'off' }}
        value={description}
        onValue={setDescription}
      />
    </Dialog>
  );
}
