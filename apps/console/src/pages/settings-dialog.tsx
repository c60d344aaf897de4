import type { PatchContainerDto, Resources } from '@berth/client';
import type { JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { berth, faultsOf } from '../data/berth';
import {
  type Draft,
  draftOf,
  faultsOfDraft,
  readGivenResources,
  readNetwork,
  readSeconds,
  readStart,
  SIZES,
} from '../data/container-draft';
import { type Faults, NO_FAULTS } from '../data/faults';
import { type Container, me } from '../data/live';
import { changesOf, differenceOf, faultsOfPairs, newPair, type Pair, VARIABLE_RULES } from '../data/pairs';
import { commonWords } from '../words/common';
import { settingsWords } from '../words/settings';
import { Dialog } from '../ui/dialog';
import { FaultsMarked, focusFirstFault } from '../ui/form-faults';
import { TextField } from '../ui/parts';
import { say } from '../ui/toasts';
import {
  LabelsField,
  LifetimeFields,
  NetworkField,
  ResourceFields,
  StartFields,
  VariablesField,
} from './container-fields';

interface SettingsProps {
  readonly container: Container;
  readonly onClose: () => void;
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Changes a container, within the tier's limits. What is as it was is not sent, so it costs no restart. */
export function SettingsDialog({ container, onClose }: SettingsProps): JSX.Element {
  const limits = me.value?.limits;
  const [before] = useState<Draft>(() => draftOf(container, limits));
  const [draft, setDraft] = useState<Draft>(before);
  const [name, setName] = useState(container.name);
  const [env, setEnv] = useState<readonly Pair[]>(() => [newPair()]);
  const [faults, setFaults] = useState<Faults>(NO_FAULTS);
  const place = useRef<HTMLDivElement>(null);
  const set = (change: Partial<Draft>): void => setDraft((now) => ({ ...now, ...change }));
  const resources: Partial<Resources> = readGivenResources(draft);
  const variables = changesOf(env);
  const isUp = container.status === 'running' || container.status === 'paused';
  const network = readNetwork(draft);
  const hasNetwork = network !== null && !same(network, readNetwork(before));
  const hasResources = SIZES.some(([, own]) => draft[own] !== before[own]) && !same(resources, container.resources);
  const recreates = hasResources || hasNetwork;

  /** What was valid when it was set, and is not changed, stays possible on a tier that allows less. */
  const check = (): Faults => {
    const found = {
      ...faultsOfDraft(draft, { limits, maySizesBeEmpty: false }),
      ...faultsOfPairs(env, VARIABLE_RULES),
    };
    const isKept = (field: string): boolean =>
      (field === 'auto_stop_seconds' && draft.auto_stop === before.auto_stop) ||
      (field === 'auto_delete_seconds' && draft.auto_delete === before.auto_delete) ||
      (!hasResources && SIZES.some(([each]) => each === field));
    return Object.fromEntries(Object.entries(found).filter(([field]) => !isKept(field)));
  };

  const refuse = (found: Faults): void => {
    setFaults(found);
    // The fields are marked in the next drawing.
    setTimeout(() => focusFirstFault(place.current, found));
  };

  const submit = async (): Promise<void> => {
    const { db_id } = container;
    const found = check();
    if (Object.keys(found).length > 0) {
      refuse(found);
      throw new FaultsMarked(found);
    }
    const start = readStart(draft);
    const labels = differenceOf(before.labels, draft.labels);
    const changes: PatchContainerDto = {
      ...(name.trim() !== container.name && { name: name.trim() }),
      ...(hasResources && resources),
      ...(draft.auto_stop !== before.auto_stop && {
        auto_stop_seconds: readSeconds(draft.auto_stop),
      }),
      ...(draft.idle_action !== before.idle_action && { idle_action: draft.idle_action || null }),
      ...(draft.auto_delete !== before.auto_delete && {
        auto_delete_seconds: readSeconds(draft.auto_delete),
      }),
      ...(draft.auto_start !== before.auto_start && { auto_start: draft.auto_start }),
      ...(hasNetwork && { network }),
      // Objects are merged: without the nulls, a condition that the fields do not show would stay.
      ...(!same(start, readStart(before)) && {
        start: start && { ...start, ready: start.ready ? { ...start.ready, command: null } : null },
      }),
      ...(Object.keys(labels).length > 0 && { labels }),
      ...(Object.keys(variables).length > 0 && { env: variables }),
    };
    try {
      if (Object.keys(changes).length === 0) return;
      const { root_kept } = await berth.containers.update(db_id, changes);
      if (root_kept !== undefined) say(settingsWords.recreated({ name: name.trim(), isRootKept: root_kept }));
    } catch (error) {
      refuse(faultsOf(error));
      throw error;
    }
  };

  const fields = { draft, set, faults, limits };
  return (
    <Dialog title={settingsWords.title(container.name)} action={commonWords.save} onClose={onClose} onSubmit={submit}>
      <div class="stack" ref={place}>
        <TextField
          label={commonWords.name}
          name="name"
          fault={faults['name']}
          input={{ maxLength: 64, autoComplete: 'off' }}
          value={name}
          onValue={setName}
        />
        <ResourceFields {...fields} />
        {recreates && (
          <p class="notice warn">
            <span>{settingsWords.recreates({ isUp, path: (home) => <code>{home}</code> })}</span>
          </p>
        )}
        <LabelsField {...fields} />
        <LifetimeFields {...fields} />
        <details class="more">
          <summary>{settingsWords.more}</summary>
          <div class="stack">
            <NetworkField {...fields} />
            <VariablesField
              label={settingsWords.variables.title}
              hint={settingsWords.variables.hint}
              env={env}
              onEnv={setEnv}
              faults={faults}
              hasRemovals
            />
            <StartFields {...fields} />
          </div>
        </details>
      </div>
    </Dialog>
  );
}
