import type { IdleAction, LimitsView } from '@berth/client';
import type { JSX } from 'preact';
import type { Draft } from '../data/container-draft';
import { type Faults, rangeInWords } from '../data/faults';
import { LABEL_RULES, type Pair, VARIABLE_RULES } from '../data/pairs';
import { isDiskEnforced } from '../data/server';
import { writeCpus, writeSize, writeTime } from '../data/units';
import { containerFieldWords } from '../words/container-fields';
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
  ['memory_mb', 'memory', writeSize(512)],
  ['cpu_shares', 'cpus', writeCpus(500)],
  ['disk_mb', 'disk', writeSize(10_240)],
] as const;

/** The permitted range, and what the number does not mean here. */
function hintOf(field: (typeof RESOURCES)[number][0], { min, max }: LimitsView): string {
  const range = rangeInWords(field, { min: min[field], max: max[field] }) ?? '';
  return field === 'disk_mb' && isDiskEnforced.value === false ? containerFieldWords.notEnforced(range) : range;
}

export function ResourceFields({ draft, set, faults, limits, unset }: FieldsProps): JSX.Element {
  return (
    <div class="fields">
      {RESOURCES.map(([field, own, example]) => (
        <TextField
          key={field}
          label={containerFieldWords[own]}
          name={field}
          hint={limits && hintOf(field, limits)}
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
      label={containerFieldWords.labels.title}
      hint={containerFieldWords.labels.hint}
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
  return <PairRows {...props} rules={VARIABLE_RULES} pairs={env} onPairs={onEnv} isEnv />;
}

export function NetworkField({ draft, set, faults, limits, unset }: FieldsProps): JSX.Element {
  const words = containerFieldWords.network;
  const widest = limits?.network;
  const isList = draft.network === 'allow';
  return (
    <>
      <Field
        label={words.title}
        name={isList ? undefined : 'network'}
        hint={draft.network === '' ? undefined : words.hints[draft.network]}
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
            {(widest === undefined || widest === 'internet') && <option value="internet">{words.internet}</option>}
            {widest !== 'none' && <option value="allow">{words.allow}</option>}
            <option value="none">{words.none}</option>
          </select>
        )}
      </Field>
      {isList && (
        <LinesField
          label={words.addresses}
          name="network"
          hint={words.addressesHint}
          fault={faults['network']}
          rows={3}
          value={draft.allow}
          onValue={(text) => set({ allow: text })}
        />
      )}
    </>
  );
}

export function LifetimeFields({ draft, set, faults, limits }: FieldsProps): JSX.Element {
  const words = containerFieldWords.lifetime;
  const hint = (most: number | null | undefined): string => words.hint(most ? writeTime(most) : null);
  return (
    <>
      <div class="fields">
        <TextField
          label={words.idleAfter}
          name="auto_stop_seconds"
          hint={hint(limits?.auto_stop_seconds)}
          fault={faults['auto_stop_seconds']}
          input={{ autoComplete: 'off', placeholder: words.idleExample }}
          value={draft.auto_stop}
          onValue={(text) => set({ auto_stop: text })}
        />
        <Field label={words.idleAction} name="idle_action" fault={faults['idle_action']}>
          {(of) => (
            <select
              {...of}
              class="input"
              value={draft.idle_action}
              onChange={(event) => set({ idle_action: event.currentTarget.value as Draft['idle_action'] })}
            >
              <option value="">{words.idleActions.usual}</option>
              {idleActionsOf(limits).map((action) => (
                <option key={action} value={action}>
                  {words.idleActions[action]}
                </option>
              ))}
            </select>
          )}
        </Field>
        <TextField
          label={words.deleteAfter}
          name="auto_delete_seconds"
          hint={hint(limits?.auto_delete_seconds)}
          fault={faults['auto_delete_seconds']}
          input={{ autoComplete: 'off', placeholder: words.deleteExample }}
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
        {words.autoStart}
      </label>
    </>
  );
}

/** In the order of what they keep: with a limit of the tier's, none that keeps more than the tier's own. */
const IDLE_ACTIONS: readonly IdleAction[] = ['stop', 'pause_then_stop', 'pause'];

function idleActionsOf(limits: LimitsView | undefined): typeof IDLE_ACTIONS {
  if (limits?.auto_stop_seconds == null) return IDLE_ACTIONS;
  return IDLE_ACTIONS.slice(0, IDLE_ACTIONS.indexOf(limits.idle_action) + 1);
}

export function StartFields({ draft, set, faults, unset }: FieldsProps): JSX.Element {
  const words = containerFieldWords.start;
  return (
    <>
      <TextField
        label={words.title}
        name="start"
        hint={unset === undefined ? words.hint : words.hintWithUnset(unset)}
        fault={faults['start']}
        isMono
        input={{ spellcheck: false, autoComplete: 'off', placeholder: 'python3 -m http.server 8080' }}
        value={draft.command}
        onValue={(text) => set({ command: text })}
      />
      {draft.command.trim() !== '' && (
        <div class="fields">
          <Field label={words.restart} name="restart" fault={faults['restart']}>
            {(of) => (
              <select
                {...of}
                class="input"
                value={draft.restart}
                onChange={(event) => set({ restart: event.currentTarget.value as Draft['restart'] })}
              >
                <option value="on-failure">{words.onFailure}</option>
                <option value="never">{words.never}</option>
              </select>
            )}
          </Field>
          <TextField
            label={words.readyPort}
            name="ready_port"
            hint={words.readyPortHint}
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
