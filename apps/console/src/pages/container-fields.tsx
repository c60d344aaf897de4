import type { IdleAction, LimitsView } from '@berth/client';
import type { JSX } from 'preact';
import type { Draft } from '../data/container-draft';
import { type Faults, rangeInWords } from '../data/faults';
import { LABEL_RULES, type Pair, VARIABLE_RULES } from '../data/pairs';
import { isDiskEnforced } from '../data/server';
import { writeTime } from '../data/units';
import { PairRows } from '../ui/pair-rows';
import { Field, LinesField, TextField } from '../ui/parts';

/** The fields that a creation, the settings and templates share. */

interface FieldsProps {
  readonly draft: Draft;
  readonly set: (change: Partial<Draft>) => void;
  readonly faults: Faults;
  readonly limits: LimitsView | undefined;
  /** What an empty field means, where it may be empty: "As in the template". */
  readonly unset?: string | undefined;
}

const RESOURCES = [
  ['memory_mb', 'memory', 'Memory, GB', '0.5'],
  ['cpu_shares', 'cpus', 'CPUs', '0.5'],
  ['disk_mb', 'disk', 'Disk, GB', '10'],
] as const;

/** What the number does not mean here. */
const caveatOf = (field: string): string =>
  field === 'disk_mb' && isDiskEnforced.value === false ? '; not enforced by this server' : '';

export function ResourceFields({ draft, set, faults, limits, unset }: FieldsProps): JSX.Element {
  return (
    <div class="fields">
      {RESOURCES.map(([field, own, label, example]) => (
        <TextField
          key={field}
          label={label}
          name={field}
          hint={
            limits &&
            `${rangeInWords(field, { min: limits.min[field], max: limits.max[field] }) ?? ''}${caveatOf(field)}`
          }
          fault={faults[field]}
          input={{ inputMode: 'decimal', autoComplete: 'off', placeholder: unset ?? example }}
          value={draft[own]}
          onValue={(text) => set({ [own]: text })}
        />
      ))}
    </div>
  );
}

export function LabelsField({ draft, set, faults }: FieldsProps): JSX.Element {
  return (
    <PairRows
      label="Labels"
      hint="Such as team and core. The list can be filtered by them."
      noun="label"
      rules={LABEL_RULES}
      pairs={draft.labels}
      onPairs={(labels) => set({ labels })}
      faults={faults}
    />
  );
}

interface VariablesFieldProps {
  readonly label: string;
  readonly hint: string;
  readonly env: readonly Pair[];
  readonly onEnv: (env: readonly Pair[]) => void;
  readonly faults: Faults;
  readonly hasRemovals?: boolean;
}

/** Environment variables. */
export function VariablesField({ env, onEnv, ...props }: VariablesFieldProps): JSX.Element {
  return <PairRows {...props} noun="variable" rules={VARIABLE_RULES} pairs={env} onPairs={onEnv} isEnv />;
}

export function NetworkField({ draft, set, faults, limits, unset }: FieldsProps): JSX.Element {
  const widest = limits?.network;
  const isList = draft.network === 'allow';
  return (
    <>
      <Field
        label="Network"
        name={isList ? undefined : 'network'}
        hint={NETWORK_HINTS[draft.network]}
        fault={isList ? undefined : faults['network']}
      >
        {(of) => (
          <select
            {...of}
            class="input"
            value={draft.network}
            onChange={(event) => set({ network: event.currentTarget.value as Draft['network'] })}
          >
            {unset !== undefined && <option value="">{unset}</option>}
            {(widest === undefined || widest === 'internet') && <option value="internet">Internet</option>}
            {widest !== 'none' && <option value="allow">Only listed addresses</option>}
            <option value="none">None</option>
          </select>
        )}
      </Field>
      {isList && (
        <LinesField
          label="Reachable addresses"
          name="network"
          hint="One per line: 203.0.113.0/24:8000 or 198.51.100.7:53/udp"
          fault={faults['network']}
          rows={3}
          value={draft.allow}
          onValue={(text) => set({ allow: text })}
        />
      )}
    </>
  );
}

const NETWORK_HINTS = {
  '': undefined,
  internet: 'What this server lets containers reach.',
  allow: 'These addresses, and name servers.',
  none: 'Nothing at all; no role can be installed.',
} as const;

const TIME_EXAMPLES = 'Such as 30 min, 2 h or 7 d.';

export function LifetimeFields({ draft, set, faults, limits }: FieldsProps): JSX.Element {
  const hint = (most: number | null | undefined): string =>
    `${TIME_EXAMPLES} ${most ? `Empty: after ${writeTime(most)}, the most on your tier.` : 'Empty: never.'}`;
  return (
    <>
      <div class="fields">
        <TextField
          label="Idle when unused for"
          name="auto_stop_seconds"
          hint={hint(limits?.auto_stop_seconds)}
          fault={faults['auto_stop_seconds']}
          input={{ autoComplete: 'off', placeholder: '2 h' }}
          value={draft.auto_stop}
          onValue={(text) => set({ auto_stop: text })}
        />
        <Field label="When idle" name="idle_action" fault={faults['idle_action']}>
          {(of) => (
            <select
              {...of}
              class="input"
              value={draft.idle_action}
              onChange={(event) => set({ idle_action: event.currentTarget.value as Draft['idle_action'] })}
            >
              <option value="">As the tier says</option>
              {idleActionsOf(limits).map(([action, words]) => (
                <option key={action} value={action}>
                  {words}
                </option>
              ))}
            </select>
          )}
        </Field>
        <TextField
          label="Delete when stopped for"
          name="auto_delete_seconds"
          hint={hint(limits?.auto_delete_seconds)}
          fault={faults['auto_delete_seconds']}
          input={{ autoComplete: 'off', placeholder: '7 d' }}
          value={draft.auto_delete}
          onValue={(text) => set({ auto_delete: text })}
        />
      </div>
      <label class="check">
        <input
          type="checkbox"
          name="auto_start"
          checked={draft.auto_start}
          onChange={(event) => set({ auto_start: event.currentTarget.checked })}
        />
        Start it when a preview of its ports is opened
      </label>
    </>
  );
}

/** In the order of what they keep: with a limit of the tier's, none that keeps more than the tier's own. */
const IDLE_ACTIONS: readonly (readonly [IdleAction, string])[] = [
  ['stop', 'Stop'],
  ['pause_then_stop', 'Pause, and stop later'],
  ['pause', 'Pause'],
];

function idleActionsOf(limits: LimitsView | undefined): typeof IDLE_ACTIONS {
  if (limits?.auto_stop_seconds == null) return IDLE_ACTIONS;
  return IDLE_ACTIONS.slice(0, IDLE_ACTIONS.findIndex(([action]) => action === limits.idle_action) + 1);
}

export function StartFields({ draft, set, faults, unset }: FieldsProps): JSX.Element {
  return (
    <>
      <TextField
        label="Start command"
        name="start"
        hint={
          'Run after every start of the container. Quotes keep words together; no shell reads it.' +
          (unset === undefined ? '' : ` Empty: ${unset.charAt(0).toLowerCase()}${unset.slice(1)}.`)
        }
        fault={faults['start']}
        isMono
        input={{ spellcheck: false, autoComplete: 'off', placeholder: 'python3 -m http.server 8080' }}
        value={draft.command}
        onValue={(text) => set({ command: text })}
      />
      {draft.command.trim() !== '' && (
        <div class="fields">
          <Field label="When it ends" name="restart" fault={faults['restart']}>
            {(of) => (
              <select
                {...of}
                class="input"
                value={draft.restart}
                onChange={(event) => set({ restart: event.currentTarget.value as Draft['restart'] })}
              >
                <option value="on-failure">Run it again if it failed</option>
                <option value="never">Leave it</option>
              </select>
            )}
          </Field>
          <TextField
            label="Ready once this port listens"
            name="ready_port"
            hint="Empty for no condition"
            fault={faults['ready_port']}
            input={{ inputMode: 'numeric', autoComplete: 'off' }}
            value={draft.ready_port}
            onValue={(text) => set({ ready_port: text })}
          />
        </div>
      )}
    </>
  );
}
