import { CONTAINER_STATUSES, type ContainerStatus, isUp, type Verb } from '../model/container.entity';
import { planCreation } from './create';
import { planDeletion } from './delete';
import { planMove } from './move';
import { planSnapshot, type PlannedSnapshot } from './snapshot';
import { planStart } from './start';
import {
  type ContainerLimits,
  type Destination,
  type LayerToKeep,
  movedVolumeName,
  type ObservedState,
  type Plan,
  type PlanInput,
  type Seed,
  type Step,
} from './steps';
import { planStop } from './stop';
import { planUpdate } from './update';

const ID = '11111111-2222-4333-8444-555555555555';
const OBSERVED_STATES: ObservedState[] = [
  'unseen',
  'missing',
  'created',
  'running',
  'paused',
  'restarting',
  'exited',
  'broken',
];
const SMALL = { memoryMb: 256, cpuShares: 250, diskMb: 1024, network: 'internet' } as const;
const LARGE = { memoryMb: 512, cpuShares: 500, diskMb: 1024, network: 'internet' } as const;

const line = (list: readonly Step[]): string => list.map(word).join(', ');

/** Every single call, those of parallel branches one branch after the other. */
function calls(steps: readonly Step[]): readonly Step[] {
  return steps.flatMap((step) => (step.do === 'in_parallel' ? step.branches.flatMap(calls) : [step]));
}

/** A verb with what its preparation can find. */
interface Prepared extends Omit<PlanInput, 'row'> {
  readonly verb: Exclude<Verb, 'pause' | 'resume'>;
  readonly wanted?: ContainerLimits;
  readonly layer?: LayerToKeep | null;
  readonly moveTo?: string | null;
  readonly move?: Destination;
  readonly snapshot?: PlannedSnapshot;
  readonly seed?: Seed;
}

function planOf({ verb, ...prepared }: Prepared & Pick<PlanInput, 'row'>): Plan {
  const { row, observed, isNew = false, wanted = row, layer = null, moveTo = null, seed = null } = prepared;
  const { move: destination = { node: 'two', volume: 'W', hasData: false }, snapshot } = prepared;
  const input = { row, observed, isNew };
  switch (verb) {
    case 'create':
      return planCreation(input, { seed });
    case 'start':
      return planStart(input, { isReplaced: false, seed });
    case 'stop':
      return planStop(input);
    case 'delete':
      return planDeletion(input);
    case 'update':
      return planUpdate(input, { wanted, moveTo, layer, seed });
    case 'move':
      return planMove(input, { destination, layer });
    case 'snapshot':
      return planSnapshot(
        input,
        snapshot ?? { owner: { id: 's', isSnapshot: true }, layer: null, volume: 'S', hasData: false },
      );
  }
}

/** A plan as a line of text, so that a table shows it whole. */
function print(input: Prepared & { status: ContainerStatus; engineId?: string | null }): string {
  const { status, engineId = 'a'.repeat(64), ...rest } = input;
  const row = { id: ID, status, engineId, generation: engineId === null ? 0 : 3, volumeName: 'V', ...SMALL };
  const { steps, cleanup } = planOf({ ...rest, row });
  return cleanup.length > 0 ? `${line(steps)} | ${line(cleanup)}` : line(steps);
}

function word(step: Step): string {
  const kind = 'isSeeded' in step && step.isSeeded ? 'seeded ' : '';
  const plain = kind + step.do.replace('_container', '').replace('ensure_', '');
  const at = 'node' in step ? step.node : 'fromNode' in step ? `${step.fromNode}>` : undefined;
  const what = at === undefined ? plain : `${at}:${plain}`;
  // The row's own volume is V; only another one is worth a word.
  if ('volume' in step) return step.volume === 'V' && step.do !== 'remove_volume' ? what : `${what} ${step.volume}`;
  if (step.do === 'in_parallel') return `(${step.branches.map(line).join(' & ')})`;
  if (step.do === 'copy_volume') return `${what.replace('_volume', '')} ${step.from} ${step.to}`;
  return 'target' in step ? `${what} ${step.target === 'current' ? 'A' : 'B'}` : what;
}

const recreate = '(volume & image), create, start B';
const swapBegins = '(stop A & rename A, rename B)';

describe('the plan of a start', () => {
  const expected: Record<ObservedState, string> = {
    unseen: 'start A',
    missing: recreate,
    created: 'start A',
    running: 'start A',
    paused: 'unpause A',
    restarting: 'start A',
    exited: 'start A',
    broken: `remove A, ${recreate}`,
  };

  it.each(OBSERVED_STATES)('must fit a container that is %s', (observed) => {
    for (const status of ['running', 'stopped'] as const) {
      expect(print({ verb: 'start', status, observed: observed })).toBe(expected[observed]);
    }
  });

  it('must go on with one whose row says that it is paused', () => {
    expect(print({ verb: 'start', status: 'paused', observed: 'unseen' })).toBe('unpause A');
    expect(print({ verb: 'start', status: 'paused', observed: 'missing' })).toBe(recreate);
  });

  it('must make a container for a row that never had one, whatever was seen', () => {
    for (const observed of OBSERVED_STATES) {
      expect(print({ verb: 'start', status: 'error', engineId: null, observed: observed })).toBe(
        `${recreate}, confirm_running B`,
      );
    }
  });
});

describe('the plan of a move to another machine', () => {
  const move = (
    status: ContainerStatus,
    hasData = true,
    engineId: string | null = 'a'.repeat(64),
    layer: LayerToKeep | null = null,
  ): string =>
    print({ verb: 'move', status, engineId, observed: 'unseen', layer, move: { node: 'two', volume: 'W', hasData } });
  const made = 'two:image, two:volume W, two:create W';

  it('must copy what runs while it is stopped, and remove nothing before the new one runs', () => {
    const steps = `${made}, stop A, two:copy V W, confirm_stopped A, start B, confirm_running B`;
    expect(move('running')).toBe(`${steps} | remove A, remove_volume V`);
  });

  it('must leave what is stopped stopped', () => {
    expect(move('stopped')).toBe(`${made}, two:copy V W, confirm_stopped A | remove A, remove_volume V`);
  });

  it('must take along what there is, and no more', () => {
    expect(move('stopped', false)).toBe(`${made} | remove A`);
    expect(move('error', true, null)).toBe('two:volume W, two:copy V W | remove_volume V');
    expect(move('error', false, null)).toBe('');
  });

  it('must read the layer when nothing writes to it, and bring it there before the new one is created', () => {
    const layer = { isKept: true, reference: 'L', imageId: 'sha256:below' };
    const kept = 'commit_layer, flatten_layer, two:copy_layer, two:create W';
    const copied = 'two:copy V W, confirm_stopped A';
    expect(move('running', true, 'a', layer)).toBe(
      `two:volume W, stop A, ${kept}, ${copied}, start B, confirm_running B | remove A, remove_volume V`,
    );
    expect(move('stopped', false, 'a', layer)).toBe(`two:volume W, ${kept}, confirm_stopped A | remove A`);
    expect(move('error', false, null, layer)).toBe('');
  });

  it('must bring an image that no registry has before anything stops', () => {
    const below = { isKept: true, reference: null, imageId: 'sha256:below' };
    const usual = move('running');
    const confirmed = usual.replace('stop A', 'stop A, confirm_unwritten A');
    expect(move('running', true, 'a', below)).toBe(`two:copy_layer, ${confirmed}`);
    expect(move('running', true, 'a', { isKept: true, reference: null, imageId: null })).toBe(confirmed);
    expect(move('running', true, 'a', { isKept: false, reference: null })).toBe(usual);
  });
});

describe('the plan of a snapshot', () => {
  const snapshot = (
    status: ContainerStatus,
    {
      layer = 'L',
      hasData = true,
      engineId = 'a'.repeat(64),
    }: { layer?: string | null; hasData?: boolean; engineId?: string | null } = {},
  ): string => {
    const planned = { owner: { id: 's', isSnapshot: true }, layer, volume: 'S', hasData };
    return print({ verb: 'snapshot', status, engineId, observed: 'unseen', snapshot: planned });
  };

  it('must suspend what runs while it is read, and prove that before and after', () => {
    const read = 'confirm_paused A, (commit_layer & copy V S), confirm_paused A';
    expect(snapshot('running')).toBe(`volume S, pause A, ${read}, unpause A, flatten_layer`);
    expect(snapshot('paused')).toBe(`volume S, ${read}, flatten_layer`);
  });

  it('must prove that what is stopped stays so', () => {
    expect(snapshot('stopped')).toBe(
      'volume S, confirm_stopped A, (commit_layer & copy V S), confirm_stopped A, flatten_layer',
    );
  });

  it('must prove that a layer which was found unwritten still is, once nothing can write to it', () => {
    const read = 'confirm_paused A, confirm_unwritten A, copy V S, confirm_paused A';
    expect(snapshot('running', { layer: null })).toBe(`volume S, pause A, ${read}, unpause A`);
  });

  it('must take what there is, and no more', () => {
    expect(snapshot('stopped', { layer: null, engineId: null })).toBe('volume S, copy V S');
    expect(snapshot('stopped', { layer: null, hasData: false, engineId: null })).toBe('');
    expect(snapshot('running', { hasData: false })).toBe(
      'pause A, confirm_paused A, commit_layer, confirm_paused A, unpause A, flatten_layer',
    );
  });
});

describe('the plan of a creation from a snapshot', () => {
  const seed = {
    layerId: 'sha256:l',
    image: { image: 'i', imageId: null, imageDigest: null },
    hasData: true,
    volume: 'S',
    untilMade: null,
  };
  const creation = { verb: 'create', status: 'creating', engineId: null, observed: 'unseen' } as const;

  it('must copy the data while the container starts, before it counts as running', () => {
    expect(print({ ...creation, seed })).toBe(
      '(volume & image), seeded create, (start B & copy S V), confirm_running B',
    );
  });

  it('must wait for a snapshot that is still being made while the container starts', () => {
    const making = { ...seed, untilMade: () => Promise.resolve() };
    expect(print({ ...creation, seed: making })).toBe(
      '(volume & image), seeded create, (start B & await_seed, copy S V), confirm_running B',
    );
    expect(print({ ...creation, seed: { ...making, volume: null } })).toBe(
      '(volume & image), seeded create, (start B & await_seed), confirm_running B',
    );
  });

  it('must bring layer and data from the node of the snapshot', () => {
    const away = { ...seed, node: 'one' };
    const made = '(volume & one>:copy_layer, image), seeded create, (start B & one>:copy S V), confirm_running B';
    expect(print({ ...creation, seed: away })).toBe(made);
    const unwritten = { ...away, layerId: null };
    expect(print({ ...creation, seed: unwritten })).toBe(made.replace('one>:copy_layer, ', ''));
    const update = { verb: 'update', wanted: SMALL, moveTo: 'W', seed: away } as const;
    expect(print({ ...update, status: 'stopped', observed: 'exited' })).toBe(
      'one>:copy_layer, image, volume W, one>:copy S W, seeded create W, rename A, rename B | ' +
        'remove A, remove_volume V',
    );
  });

  it('must not look for data that the snapshot has not', () => {
    const without = { ...seed, hasData: false, volume: null };
    expect(print({ ...creation, seed: without })).toBe(`${recreate}, confirm_running B`);
  });

  it('must copy the data of one that a container returns to while the container still runs', () => {
    const update = {
      verb: 'update',
      status: 'running',
      observed: 'running',
      wanted: SMALL,
      moveTo: 'W',
      seed,
    } as const;
    expect(print(update)).toBe(
      `image, volume W, copy S W, seeded create W, ${swapBegins}, start B, confirm_running B | remove A, remove_volume V`,
    );
  });
});

describe('the plan of a resize that keeps the writable layer', () => {
  const layer = { isKept: true, reference: 'L' };
  const update = { verb: 'update', wanted: LARGE, layer } as const;

  it('must read the layer when nothing writes to it, and remove nothing before the new one runs', () => {
    expect(print({ ...update, status: 'running', observed: 'running' })).toBe(
      'stop A, commit_layer, flatten_layer, create, rename A, rename B, start B, confirm_running B | remove A',
    );
    expect(print({ ...update, status: 'stopped', observed: 'exited' })).toBe(
      'commit_layer, flatten_layer, create, rename A, rename B | remove A',
    );
  });

  it('must move the data too', () => {
    expect(print({ ...update, status: 'running', observed: 'running', moveTo: 'W' })).toBe(
      'volume W, stop A, commit_layer, flatten_layer, create W, rename A, rename B, copy V W, confirm_stopped A, ' +
        'start B, confirm_running B | remove A, remove_volume V',
    );
  });

  it('must be that of any resize if there is nothing to keep, or no container', () => {
    const usual = print({ verb: 'update', wanted: LARGE, status: 'running', observed: 'running' });
    const nothing = { isKept: true, reference: null };
    // What is written until the stop would be lost.
    const confirmed = usual.replace('stop A', 'stop A, confirm_unwritten A');
    expect(print({ ...update, layer: nothing, status: 'running', observed: 'running' })).toBe(confirmed);
    const gone = print({ verb: 'update', wanted: LARGE, status: 'stopped', observed: 'missing' });
    expect(print({ ...update, status: 'stopped', observed: 'missing' })).toBe(gone);
  });
});

describe('the plan of a stop', () => {
  const gone: ObservedState[] = ['missing', 'broken'];

  it.each(OBSERVED_STATES)('must fit a container that is %s', (observed) => {
    for (const status of ['running', 'stopped'] as const) {
      expect(print({ verb: 'stop', status, observed: observed })).toBe(gone.includes(observed) ? '' : 'stop A');
    }
  });

  it('must do nothing for a row without a container', () => {
    expect(print({ verb: 'stop', status: 'error', engineId: null, observed: 'unseen' })).toBe('');
  });
});

describe('the plan of a delete', () => {
  const ofRunning: Record<ObservedState, string> = {
    unseen: 'stop A, remove A',
    missing: '',
    created: 'remove A',
    running: 'stop A, remove A',
    paused: 'stop A, remove A',
    restarting: 'stop A, remove A',
    exited: 'remove A',
    broken: 'remove A',
  };

  it.each(OBSERVED_STATES)('must take down a container that is %s', (observed) => {
    expect(print({ verb: 'delete', status: 'running', observed: observed })).toBe(ofRunning[observed]);
    const stopped = observed === 'unseen' ? 'remove A' : ofRunning[observed];
    expect(print({ verb: 'delete', status: 'stopped', observed: observed })).toBe(stopped);
  });

  it('must have nothing to do for a row without a container', () => {
    for (const status of ['creating', 'error'] as const) {
      expect(print({ verb: 'delete', status, engineId: null, observed: 'unseen' })).toBe('');
    }
  });
});

describe('the plan of an update', () => {
  const replace = `image, create, ${swapBegins}, start B, confirm_running B | remove A`;
  const alive: ObservedState[] = ['unseen', 'created', 'running', 'paused', 'restarting', 'exited'];
  const ofGone = (observed: ObservedState): string =>
    observed === 'missing' ? 'image, volume, create' : 'remove A, image, volume, create';

  it.each(OBSERVED_STATES)('must create the new container before it stops one that is %s', (observed) => {
    const expected = alive.includes(observed) ? replace : ofGone(observed);
    expect(print({ verb: 'update', status: 'running', observed: observed, wanted: LARGE })).toBe(expected);
  });

  it.each(OBSERVED_STATES)('must replace a stopped container without starting it (%s)', (observed) => {
    const expected = alive.includes(observed) ? 'image, create, rename A, rename B | remove A' : ofGone(observed);
    expect(print({ verb: 'update', status: 'stopped', observed: observed, wanted: LARGE })).toBe(expected);
  });

  it('must touch nothing when no resource changes', () => {
    for (const observed of OBSERVED_STATES) {
      expect(print({ verb: 'update', status: 'running', observed: observed, wanted: { ...SMALL } })).toBe('');
    }
  });

  it('must touch nothing for a row without a container', () => {
    expect(print({ verb: 'update', status: 'error', engineId: null, observed: 'unseen', wanted: LARGE })).toBe('');
  });

  it('must make the replacement beside the old one, and exchange their names before the commit', () => {
    const row = {
      id: ID,
      status: 'running' as const,
      engineId: 'a'.repeat(64),
      generation: 3,
      volumeName: 'V',
      ...SMALL,
    };
    const steps = calls(planOf({ verb: 'update', row, observed: 'running', wanted: LARGE }).steps);
    expect(steps).toContainEqual(
      expect.objectContaining({ do: 'create_container', generation: 4, name: `berth-${ID}-g4` }),
    );
    const renamed = steps.flatMap((step) => (step.do === 'rename_container' ? [[step.target, step.name]] : []));
    expect(renamed).toEqual([
      ['current', `berth-${ID}-g3`],
      ['replacement', `berth-${ID}`],
    ]);
  });
});

describe('the plan of an update that moves the data', () => {
  const moving = { verb: 'update', wanted: { ...SMALL, diskMb: 2048 }, moveTo: 'W' } as const;
  const gone: ObservedState[] = ['missing', 'broken'];
  const after = 'remove A, remove_volume V';
  const first = (observed: ObservedState): string => (observed === 'broken' ? 'remove A, ' : '');

  it.each(OBSERVED_STATES)('must copy it after the old one stopped and before the new one starts (%s)', (observed) => {
    const swap = `${swapBegins}, copy V W, confirm_stopped A, start B, confirm_running B | ${after}`;
    const expected = gone.includes(observed) ? 'copy V W | remove_volume V' : swap;
    expect(print({ ...moving, status: 'running', observed: observed })).toBe(
      `${first(observed)}image, volume W, create W, ${expected}`,
    );
  });

  it.each(OBSERVED_STATES)('must do the same to a stopped one without a start (%s)', (observed) => {
    const swap = `copy V W, confirm_stopped A, rename A, rename B | ${after}`;
    const expected = gone.includes(observed) ? 'copy V W | remove_volume V' : swap;
    expect(print({ ...moving, status: 'stopped', observed: observed })).toBe(
      `${first(observed)}image, volume W, create W, ${expected}`,
    );
  });

  it('must exchange the volume alone where there is no container', () => {
    for (const status of ['error', 'creating'] as const) {
      expect(print({ ...moving, status, engineId: null, observed: 'unseen' })).toBe(
        'volume W, copy V W | remove_volume V',
      );
    }
  });

  it('must name a volume after the container and the attempt', () => {
    const attempts = ['0a1b2c3d-1111', '4e5f6071-1111'].map((id) => movedVolumeName({ id: ID, generation: 3 }, id));
    expect(attempts).toEqual([`berth-${ID}-v4-0a1b2c3d`, `berth-${ID}-v4-4e5f6071`]);
  });
});

describe('the plan of a creation', () => {
  it('must make, start and look', () => {
    expect(print({ verb: 'create', status: 'creating', engineId: null, observed: 'unseen' })).toBe(
      `${recreate}, confirm_running B`,
    );
  });

  it.each([true, false])('must say of the volume whether it can only be new (%s)', (isNew) => {
    const row = { id: ID, status: 'creating', engineId: null, generation: 0, volumeName: 'V', ...SMALL } as const;
    const { steps } = planOf({ verb: 'create', row, observed: 'unseen', isNew });
    const volume = calls(steps).find((step) => step.do === 'ensure_volume');
    expect(volume).toMatchObject(isNew ? { isNew } : {});
    expect('isNew' in (volume ?? {})).toBe(isNew);
  });
});

describe('every plan', () => {
  const verbs: Prepared['verb'][] = ['create', 'start', 'stop', 'delete', 'update'];
  const all = verbs.flatMap((verb) =>
    CONTAINER_STATUSES.flatMap((status) =>
      OBSERVED_STATES.flatMap((observed) =>
        [null, 'a'.repeat(64)].flatMap((engineId) => {
          const row = { id: ID, status, engineId, generation: 3, volumeName: 'V', ...SMALL };
          return [null, 'W'].map((moveTo) => {
            const plan = planOf({ verb, row, observed: observed, wanted: LARGE, moveTo });
            return { verb, status, observed, engineId, moveTo, plan };
          });
        }),
      ),
    ),
  );

  it('must say why of each step', () => {
    for (const { plan } of all)
      for (const step of [...plan.steps, ...calls(plan.steps), ...plan.cleanup]) expect(step.because).not.toBe('');
  });

  it('must not name a container that is not there', () => {
    for (const { plan, engineId } of all) {
      let made = false;
      for (const step of calls(plan.steps)) {
        if (step.do === 'create_container') made = true;
        if (!('target' in step)) continue;
        expect(step.target === 'current' ? engineId !== null : made).toBe(true);
      }
    }
  });

  it('must take this for the Docker that has the volume only where an update has just seen the container run', () => {
    for (const { plan, verb, status, observed, engineId } of all) {
      const create = calls(plan.steps).find((step) => step.do === 'create_container');
      if (!create) continue;
      const isThere = engineId !== null && !['missing', 'broken'].includes(observed);
      expect(create.sawCurrent ?? false).toBe(verb === 'update' && isUp(status) && isThere);
    }
  });

  it('must remove a volume only after its data was moved, and after the commit', () => {
    for (const { plan, verb, moveTo } of all) {
      expect(calls(plan.steps).some((step) => step.do === 'remove_volume')).toBe(false);
      const removed = plan.cleanup.filter((step) => step.do === 'remove_volume');
      expect(removed.map(({ volume }) => volume)).toEqual(verb === 'update' && moveTo ? ['V'] : []);
      expect(calls(plan.steps).some((step) => step.do === 'copy_volume')).toBe(removed.length > 0);
    }
  });

  it('must never copy while a container may run on either volume', () => {
    const orders = all.map(({ plan }) => calls(plan.steps).map(word)).filter((order) => order.includes('copy V W'));
    const swaps = orders.filter((order) => order.includes('start B'));
    for (const order of swaps) {
      expect(order.indexOf('stop A')).toBeLessThan(order.indexOf('copy V W'));
      expect(order.indexOf('start B')).toBeGreaterThan(order.indexOf('copy V W'));
    }
    expect(swaps.length).toBeGreaterThan(0);
    expect(swaps.length).toBeLessThan(orders.length);
  });

  it('must never start the new container while the old one may run', () => {
    for (const { plan, engineId } of all.filter(({ verb }) => verb === 'update')) {
      const order = calls(plan.steps).map(word);
      if (engineId === null || !order.includes('start B')) continue;
      expect(order.indexOf('stop A')).toBeGreaterThan(order.indexOf('create'));
      expect(order.indexOf('start B')).toBeGreaterThan(order.indexOf('stop A'));
    }
  });
});
