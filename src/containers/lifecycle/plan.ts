import type { EngineState } from '../../docker';
import type { ContainerRow } from '../container.entity';
import type { Verb } from '../container-state';

/** `current` is the Docker container that the row knows, `replacement` the one that the plan makes. */
export type Target = 'current' | 'replacement';

/** One call to the engine, and why. */
export type Step = { readonly because: string } & (
  | { readonly do: 'ensure_image' }
  | { readonly do: 'ensure_volume' }
  | { readonly do: 'create_container'; readonly name: string; readonly generation: number }
  | { readonly do: 'start_container'; readonly target: Target }
  | { readonly do: 'unpause_container'; readonly target: Target }
  | { readonly do: 'stop_container'; readonly target: Target }
  /** Runs, and goes on running for this long: a main process that is missing ends a moment after a start that succeeded. */
  | { readonly do: 'confirm_running'; readonly target: Target; readonly forMs: number }
  | { readonly do: 'remove_container'; readonly target: Target }
  | { readonly do: 'rename_container'; readonly target: Target; readonly name: string }
  | { readonly do: 'remove_volume' }
);

/** What an operation does: `steps` before its outcome is committed, `afterwards` on nobody's time. */
export interface Plan {
  readonly steps: readonly Step[];
  readonly afterwards: readonly Step[];
}

/** What is known of the row's Docker container. `unseen`: nobody looked; the row is believed until Docker objects. */
export type Sighting = EngineState | 'missing' | 'unseen';

/** The resources that an update asks for. */
export interface Resources {
  readonly memoryMb: number;
  readonly cpuShares: number;
  readonly diskMb: number;
}

export interface PlanInput {
  readonly verb: Verb;
  readonly row: Pick<ContainerRow, 'id' | 'status' | 'dockerId' | 'generation'> & Resources;
  readonly sighting: Sighting;
  /** With `update` only. */
  readonly wanted?: Resources;
  /** With `delete` only: the volume is not kept. */
  readonly removeVolume?: boolean;
}

/** The name of the Docker container of a row. */
export function containerName(id: string): string {
  return `berth-${id}`;
}

/** The name of a replacement while the container that it replaces still has the real one. */
export function replacementName(id: string, generation: number): string {
  return `${containerName(id)}-g${String(generation)}`;
}

/** Decides; does nothing. Every state × every sighting × every verb has an answer. */
export function planOperation(input: PlanInput): Plan {
  const exists = input.row.dockerId !== null && !['missing', 'removing', 'dead'].includes(input.sighting);
  switch (input.verb) {
    case 'create':
      return before([...clearAway(input), ...recreate(input), firstRun]);
    case 'start':
      return before(exists ? [resume(input)] : [...clearAway(input), ...recreate(input), ...ifFirstRun(input)]);
    case 'stop':
      return before(exists ? [stop('asked to stop')] : []);
    case 'delete':
      return {
        steps: exists ? takeDown(input) : clearAway(input),
        afterwards: input.removeVolume ? [removeVolume] : [],
      };
    case 'update':
      return planUpdate(input, exists);
  }
}

function planUpdate(input: PlanInput, exists: boolean): Plan {
  const { row, wanted } = input;
  if (!wanted || sameResources(row, wanted)) return before([]);
  if (row.dockerId === null) return before([]);
  const generation = row.generation + 1;
  const name = replacementName(row.id, generation);
  const prepare: Step[] = [
    { do: 'ensure_image', because: 'the image may have been removed since' },
    ...(exists ? [] : [ensureVolume]),
    { do: 'create_container', name, generation, because: 'limits change by replacing; made before the old one stops' },
  ];
  const afterwards: Step[] = [
    { do: 'remove_container', target: 'current', because: 'replaced' },
    { do: 'rename_container', target: 'replacement', name: containerName(row.id), because: 'the name is free now' },
  ];
  if (row.status !== 'running' || !exists) return { steps: prepare, afterwards };
  const swap: Step[] = [
    stop('two must never run on one volume'),
    { do: 'start_container', target: 'replacement', because: 'it was running before' },
    {
      do: 'confirm_running',
      target: 'replacement',
      forMs: 0,
      because: 'the old one is given up only for one that runs',
    },
  ];
  return { steps: [...prepare, ...swap], afterwards };
}

export function sameResources(a: Resources, b: Resources): boolean {
  return a.memoryMb === b.memoryMb && a.cpuShares === b.cpuShares && a.diskMb === b.diskMb;
}

const ensureVolume: Step = { do: 'ensure_volume', because: 'the data lives in it' };
const removeVolume: Step = { do: 'remove_volume', because: 'deleted volumes are not kept' };
const firstRun: Step = {
  do: 'confirm_running',
  target: 'replacement',
  forMs: 300,
  because: 'nobody knows yet whether this image runs as a sandbox',
};
const ifFirstRun = ({ row }: PlanInput): Step[] => (row.dockerId === null ? [firstRun] : []);
const stop = (because: string): Step => ({ do: 'stop_container', target: 'current', because });
const before = (steps: readonly Step[]): Plan => ({ steps, afterwards: [] });

/** What is left of a container that is half gone still has its name. */
function clearAway({ row, sighting }: PlanInput): Step[] {
  const debris = row.dockerId !== null && (sighting === 'removing' || sighting === 'dead');
  return debris ? [{ do: 'remove_container', target: 'current', because: `it is ${sighting}` }] : [];
}

function recreate({ row }: PlanInput): Step[] {
  const generation = row.generation + 1;
  return [
    { do: 'ensure_image', because: 'a container needs its image' },
    ensureVolume,
    { do: 'create_container', name: containerName(row.id), generation, because: 'there is none in Docker' },
    { do: 'start_container', target: 'replacement', because: 'asked to run' },
  ];
}

function resume({ sighting }: PlanInput): Step {
  return sighting === 'paused'
    ? { do: 'unpause_container', target: 'current', because: 'a paused container cannot be started' }
    : { do: 'start_container', target: 'current', because: 'asked to run' };
}

function takeDown({ row, sighting }: PlanInput): Step[] {
  const idle = sighting === 'exited' || sighting === 'created' || (sighting === 'unseen' && row.status !== 'running');
  const remove: Step = { do: 'remove_container', target: 'current', because: 'deleted' };
  return idle ? [remove] : [stop('processes get their SIGTERM before the end'), remove];
}
