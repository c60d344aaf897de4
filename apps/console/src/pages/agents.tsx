import type { AgentCreatedView, AgentView } from '@berth/client';
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { duration, fraction, megabytes } from '../words/format';
import { agents as online } from '../data/live';
import { ask, Dialog } from '../ui/dialog';
import { PlusIcon } from '../ui/icons';
import { Ago, Empty, Listing, PageHead, RemoveCell, Secret, Shown, Status, TextField, useLoaded } from '../ui/parts';
import { agentWords } from '../words/agents';
import { commonWords } from '../words/common';

/** The command that runs an agent. */
const commandOf = ({ token }: AgentCreatedView): string =>
  ['npm', 'run', 'agent', '--', '--url', location.origin, '--token', token].join(' ');

/** The user's own machines. */
export function Agents(): JSX.Element {
  const loaded = useLoaded(() => berth.agents.list());
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState<AgentCreatedView | null>(null);
  // Events report which agents connect and disconnect; everything else about an agent is read again then.
  useEffect(() => void loaded.reload(), [online.value]);
  const remove = ({ id, name }: AgentView): void =>
    ask({
      title: agentWords.deleteQuestion(name),
      text: agentWords.deleteEffect,
      action: commonWords.delete,
      run: async () => {
        await berth.containers.delete(id as `agent:${string}`);
        await loaded.reload();
      },
    });
  const { columns } = agentWords;
  return (
    <>
      <PageHead title={agentWords.title} aside={<span class="muted">{agentWords.about}</span>}>
        <button type="button" class="button primary" onClick={() => setMaking(true)}>
          <PlusIcon /> {agentWords.create}
        </button>
      </PageHead>
      <Shown of={loaded}>
        {(agents) => (
          <Listing
            items={agents}
            caption={agentWords.caption}
            columns={[commonWords.name, commonWords.status, columns.system, columns.load, columns.memory, columns.seen]}
            hasActions
            empty={
              <Empty title={agentWords.empty.title}>
                <p>{agentWords.empty.text}</p>
                <button type="button" class="button primary" onClick={() => setMaking(true)}>
                  <PlusIcon /> {agentWords.create}
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
        <Dialog
          title={agentWords.created.title(made.name)}
          action={agentWords.created.done}
          isLast
          onClose={() => setMade(null)}
        >
          <p>{agentWords.created.text}</p>
          <Secret text={commandOf(made)} label={agentWords.created.command} />
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
      <td class="muted" data-name={agentWords.cells.load}>
        {load === null ? '–' : load.map(fraction).join(' ')}
      </td>
      <td class="muted nowrap" data-name={agentWords.cells.memory}>
        {memory_used_mb === null || memory_total_mb === null
          ? '–'
          : agentWords.memoryUsed({ used: megabytes(memory_used_mb), total: megabytes(memory_total_mb) })}
      </td>
      <td class="muted nowrap">
        {agent.last_seen_at === null ? commonWords.never : <Ago time={agent.last_seen_at} />}
        {status === 'online' && uptime_seconds !== null && (
          <div class="small">{agentWords.up(duration(uptime_seconds))}</div>
        )}
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
    <Dialog title={agentWords.create} action={commonWords.create} onClose={onClose} onSubmit={submit}>
      <TextField
        label={commonWords.name}
        hint={agentWords.nameHint}
        fault={faultOf(fault, 'name')}
        input={{ maxLength: 64, autoComplete: 'off' }}
        value={name}
        onValue={setName}
      />
      <TextField
        label={commonWords.description}
        fault={faultOf(fault, 'description')}
        input={{ autoComplete: 'off' }}
        value={description}
        onValue={setDescription}
      />
    </Dialog>
  );
}
