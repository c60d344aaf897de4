import type { PatchContainerDto } from '@berth/client';
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { berth, faultOf } from '../data/berth';
import { type Container, me } from '../data/live';
import { Dialog } from '../ui/dialog';
import { LinesField, TextField } from '../ui/parts';
import { say } from '../ui/toasts';
import {
  type Draft,
  draftOf,
  labelChanges,
  LabelsField,
  LifetimeFields,
  NetworkField,
  readNetwork,
  readResources,
  readSeconds,
  readStart,
  readVariableChanges,
  ResourceFields,
  StartFields,
} from './container-fields';

interface SettingsProps {
  readonly container: Container;
  readonly onClose: () => void;
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

const ROOT_KEPT = 'The software that was installed outside /home/user is still there.';
const ROOT_LOST = 'Only /home/user was kept: software that was installed elsewhere is gone.';

/** Changes a container, within the tier's limits. What is as it was is not sent, so it costs no restart. */
export function SettingsDialog({ container, onClose }: SettingsProps): JSX.Element {
  const limits = me.value?.limits;
  const [before] = useState<Draft>(() => draftOf(container, limits));
  const [draft, setDraft] = useState<Draft>(before);
  const [name, setName] = useState(container.name);
  const [env, setEnv] = useState('');
  const [fault, setFault] = useState<unknown>(null);
  const set = (change: Partial<Draft>): void => setDraft((now) => ({ ...now, ...change }));
  const resources = readResources(draft);
  const variables = readVariableChanges(env);
  const hasVariables = Object.keys(variables).length > 0;
  const isUp = container.status === 'running' || container.status === 'paused';
  const network = readNetwork(draft);
  const hasNetwork = network !== null && !same(network, readNetwork(before));
  const recreates = !same(resources, container.resources) || hasNetwork;

  const submit = async (): Promise<void> => {
    const { db_id } = container;
    const start = readStart(draft);
    const changes: PatchContainerDto = {
      ...(name.trim() !== container.name && { name: name.trim() }),
      ...(!same(resources, container.resources) && resources),
      ...(draft.auto_stop_minutes !== before.auto_stop_minutes && {
        auto_stop_seconds: readSeconds(draft.auto_stop_minutes, 60),
      }),
      ...(draft.idle_action !== before.idle_action && { idle_action: draft.idle_action || null }),
      ...(draft.auto_delete_hours !== before.auto_delete_hours && {
        auto_delete_seconds: readSeconds(draft.auto_delete_hours, 3600),
      }),
      ...(draft.auto_start !== before.auto_start && { auto_start: draft.auto_start }),
      ...(hasNetwork && { network }),
      // Objects are merged: without the nulls, a condition that the fields do not show would stay.
      ...(!same(start, readStart(before)) && {
        start: start && { ...start, ready: start.ready ? { ...start.ready, command: null } : null },
      }),
      ...(draft.labels !== before.labels && { labels: labelChanges(before.labels, draft.labels) }),
      ...(hasVariables && { env: variables }),
    };
    try {
      if (Object.keys(changes).length === 0) return;
      const { root_kept } = await berth.containers.update(db_id, changes);
      if (root_kept !== undefined) say(`“${name.trim()}” was recreated. ${root_kept ? ROOT_KEPT : ROOT_LOST}`);
    } catch (error) {
      setFault(error);
      throw error;
    }
  };

  const fields = { draft, set, fault, limits };
  return (
    <Dialog title={`Settings of “${container.name}”`} action="Save" onClose={onClose} onSubmit={submit}>
      <TextField
        label="Name"
        fault={faultOf(fault, 'name')}
        input={{ maxLength: 64, autoComplete: 'off' }}
        value={name}
        onValue={setName}
      />
      <ResourceFields {...fields} />
      {recreates && (
        <p class="notice warn">
          <span>
            The container is recreated{isUp && ', and restarted: its programs end'}. <code>/home/user</code> stays, and
            so does software that was installed elsewhere, if this server can keep it: you will be told.
          </span>
        </p>
      )}
      <LabelsField {...fields} />
      <LifetimeFields {...fields} />
      <details class="more">
        <summary>Network, variables, start command</summary>
        <div class="stack">
          <NetworkField {...fields} />
          <LinesField
            label="New environment variables"
            hint="One a line: KEY=value sets one, KEY alone removes it. Others stay, and running programs keep theirs."
            fault={faultOf(fault, 'env')}
            rows={2}
            autoComplete="off"
            value={env}
            onValue={setEnv}
          />
          <StartFields {...fields} />
        </div>
      </details>
    </Dialog>
  );
}
