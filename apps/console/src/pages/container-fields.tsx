import type { JSX } from 'preact';
import { megabytes, cpus } from '../data/format';
import type {
  IdleAction,
  LimitsView,
  NetworkPolicy,
  Resources,
  StartCommand,
  StartCommandRequest,
} from '@berth/client';
import { faultOf } from '../data/berth';
import type { Container } from '../data/live';
import { isDiskEnforced } from '../data/server';
import { Field, LinesField, TextField } from '../ui/parts';

/** The fields that a creation and the settings share. */

export interface Draft {
  memory_mb: string;
  cpu_shares: string;
  disk_mb: string;
  /** Empty: as the template or the tier says. */
  network: 'internet' | 'none' | 'allow' | '';
  allow: string;
  labels: string;
  auto_stop_minutes: string;
  /** Empty: as the tier says. */
  idle_action: IdleAction | '';
  auto_delete_hours: string;
  /** Whether a preview starts it. */
  auto_start: boolean;
  command: string;
  restart: 'on-failure' | 'never';
  ready_port: string;
}

export function draftOf(container: Container | undefined, limits: LimitsView | undefined): Draft {
  const resources = container?.resources ?? limits?.default;
  return {
    memory_mb: String(resources?.memory_mb ?? 1024),
    cpu_shares: String(resources?.cpu_shares ?? 1000),
    disk_mb: String(resources?.disk_mb ?? 10_240),
    ...networkDraft(container?.network ?? limits?.network ?? 'internet'),
    labels: writeLabels(container?.labels ?? {}),
    auto_stop_minutes: perhaps(container?.auto_stop_seconds, 60),
    idle_action: container?.idle_action ?? '',
    auto_delete_hours: perhaps(container?.auto_delete_seconds, 3600),
    auto_start: container?.auto_start ?? false,
    ...startDraft(container?.start),
  };
}

/** The fields of a network policy. @param network null: as the tier says */
export function networkDraft(network: NetworkPolicy | null): Pick<Draft, 'network' | 'allow'> {
  return network === null || typeof network === 'string'
    ? { network: network ?? '', allow: '' }
    : { network: 'allow', allow: network.allow.join('\n') };
}

/** The fields of a start command. */
export function startDraft(start: StartCommand | null | undefined): Pick<Draft, 'command' | 'restart' | 'ready_port'> {
  return {
    command: start ? writeCommand(start.command) : '',
    restart: start?.restart ?? 'on-failure',
    ready_port: String(start?.ready?.port ?? ''),
  };
}

const perhaps = (seconds: number | null | undefined, unit: number): string =>
  seconds ? String(Math.round((seconds / unit) * 100) / 100) : '';

interface FieldsProps {
  readonly draft: Draft;
  readonly set: (change: Partial<Draft>) => void;
  readonly fault: unknown;
  readonly limits: LimitsView | undefined;
  /** What an empty field means, where it may be empty: "As in the template". */
  readonly unset?: string | undefined;
}

const RESOURCES: readonly (readonly [keyof Resources, string, (value: number) => string, string])[] = [
  ['memory_mb', 'Memory, MB', megabytes, '128'],
  ['cpu_shares', 'CPU, 1000 is one', cpus, '50'],
  ['disk_mb', 'Disk, MB', megabytes, '256'],
];

/** What the number does not mean here. */
const caveatOf = (name: keyof Resources): string =>
  name === 'disk_mb' && isDiskEnforced.value === false ? '; not enforced by this server' : '';

export function ResourceFields({ draft, set, fault, limits, unset }: FieldsProps): JSX.Element {
  return (
    <div class="fields">
      {RESOURCES.map(([name, label, show, step]) => (
        <TextField
          key={name}
          label={label}
          hint={limits && `${show(limits.min[name])} to ${show(limits.max[name])}${caveatOf(name)}`}
          fault={faultOf(fault, name)}
          input={{
            type: 'number',
            inputMode: 'numeric',
            step,
            min: limits?.min[name],
            max: limits?.max[name],
            placeholder: unset,
          }}
          value={draft[name]}
          onValue={(text) => set({ [name]: text })}
        />
      ))}
    </div>
  );
}

export function LabelsField({ draft, set, fault }: FieldsProps): JSX.Element {
  return (
    <LinesField
      label="Labels"
      hint="One a line: team=core"
      fault={faultOf(fault, 'labels')}
      rows={2}
      value={draft.labels}
      onValue={(text) => set({ labels: text })}
    />
  );
}

export function NetworkField({ draft, set, fault, limits, unset }: FieldsProps): JSX.Element {
  const widest = limits?.network;
  return (
    <>
      <Field label="Network" hint={NETWORK_HINTS[draft.network]} fault={faultOf(fault, 'network')}>
        {(of) => (
          <select
            {...of}
            class="input"
            value={draft.network}
            onChange={(event) => set({ network: event.currentTarget.value as Draft['network'] })}
          >
            {unset !== undefined && <option value="">{unset}</option>}
            {(widest === undefined || widest === 'internet') && <option value="internet">Internet</option>}
            {widest !== 'none' && <option value="allow">Only what is listed</option>}
            <option value="none">None</option>
          </select>
        )}
      </Field>
      {draft.network === 'allow' && (
        <LinesField
          label="Reachable addresses"
          hint="One a line: 203.0.113.0/24:8000 or 198.51.100.7:53/udp"
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

export function LifetimeFields({ draft, set, fault, limits }: FieldsProps): JSX.Element {
  const most = (seconds: number | null | undefined, unit: number, name: string): string =>
    seconds ? `Empty for the tier's: ${String(Math.round(seconds / unit))} ${name}` : 'Empty for never';
  return (
    <div class="fields">
      <TextField
        label="Idle when unused, minutes"
        hint={most(limits?.auto_stop_seconds, 60, 'minutes')}
        fault={faultOf(fault, 'auto_stop_seconds')}
        input={{ type: 'number', inputMode: 'decimal', min: '1' }}
        value={draft.auto_stop_minutes}
        onValue={(text) => set({ auto_stop_minutes: text })}
      />
      <Field label="When idle" fault={faultOf(fault, 'idle_action')}>
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
        label="Delete when stopped, hours"
        hint={most(limits?.auto_delete_seconds, 3600, 'hours')}
        fault={faultOf(fault, 'auto_delete_seconds')}
        input={{ type: 'number', inputMode: 'decimal', min: '0.1', step: '0.1' }}
        value={draft.auto_delete_hours}
        onValue={(text) => set({ auto_delete_hours: text })}
      />
      <label class="check">
        <input
          type="checkbox"
          checked={draft.auto_start}
          onChange={(event) => set({ auto_start: event.currentTarget.checked })}
        />
        Start it when a preview of its ports is opened
      </label>
    </div>
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

export function StartFields({ draft, set, fault, unset }: FieldsProps): JSX.Element {
  return (
    <>
      <TextField
        label="Start command"
        hint={
          'Run after every start of the container. Quotes keep words together; no shell reads it.' +
          (unset === undefined ? '' : ` Empty: ${unset.charAt(0).toLowerCase()}${unset.slice(1)}.`)
        }
        fault={faultOf(fault, 'start')}
        isMono
        input={{ spellcheck: false, placeholder: 'python3 -m http.server 8080' }}
        value={draft.command}
        onValue={(text) => set({ command: text })}
      />
      {draft.command.trim() !== '' && (
        <div class="fields">
          <Field label="When it ends">
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
            hint="Empty for no condition"
            input={{ type: 'number', inputMode: 'numeric', min: '1', max: '65535' }}
            value={draft.ready_port}
            onValue={(text) => set({ ready_port: text })}
          />
        </div>
      )}
    </>
  );
}

export const readResources = (draft: Draft): Resources => ({
  memory_mb: Number(draft.memory_mb),
  cpu_shares: Number(draft.cpu_shares),
  disk_mb: Number(draft.disk_mb),
});

/** The sizes that are not left empty. */
export function readGivenResources(draft: Draft): Partial<Resources> {
  const given = RESOURCES.filter(([name]) => draft[name].trim() !== '');
  return Object.fromEntries(given.map(([name]) => [name, Number(draft[name])]));
}

/** @returns null if it is left to the template or the tier */
export function readNetwork({ network, allow }: Draft): NetworkPolicy | null {
  if (network === '') return null;
  return network === 'allow' ? { allow: linesOf(allow) } : network;
}

export function readStart({ command, restart, ready_port }: Draft): StartCommandRequest | null {
  const words = readCommand(command);
  if (words.length === 0) return null;
  const port = Number(ready_port);
  return { command: words, restart, ...(port > 0 && { ready: { port } }) };
}

export const readSeconds = (text: string, unit: number): number | null =>
  text.trim() === '' ? null : Math.round(Number(text) * unit);

const linesOf = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);

/** `key=value` by lines; the value may be left out. */
export function readPairs(text: string): Record<string, string> {
  return Object.fromEntries(
    linesOf(text).map((line) => {
      const [key = '', ...rest] = line.split('=');
      return [key.trim(), rest.join('=').trim()];
    }),
  );
}

/** Changes of variables: `KEY=value` sets one, `KEY` alone removes it. */
export function readVariableChanges(text: string): Record<string, string | null> {
  const changes: Record<string, string | null> = readPairs(text);
  for (const key of linesOf(text)) if (!key.includes('=')) changes[key] = null;
  return changes;
}

/** The merge patch that turns the first labels into the others. */
export function labelChanges(before: string, after: string): Record<string, string | null> {
  const removed = Object.keys(readPairs(before)).map((key): [string, null] => [key, null]);
  return { ...Object.fromEntries(removed), ...readPairs(after) };
}

const writeLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
    .join('\n');

/** Words as a shell would have them, and nothing else of a shell. */
export function readCommand(text: string): string[] {
  const words = text.match(/(?:[^\s"']+|"(?:\\.|[^"\\])*"|'[^']*')+/g) ?? [];
  return words.map((word) =>
    word.replace(/"((?:\\.|[^"\\])*)"|'([^']*)'/g, (_all, double?: string, single?: string) =>
      double !== undefined ? double.replace(/\\(.)/g, '$1') : (single ?? ''),
    ),
  );
}

export const writeCommand = (words: readonly string[]): string =>
  words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(' ');
