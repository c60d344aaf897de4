import type { ContainerStatus, Verb } from '../container-state';
import { planOperation, PlanInput, Sighting, Step } from './plan';

const ID = '11111111-2222-4333-8444-555555555555';
const SIGHTINGS: Sighting[] = [
  'unseen',
  'missing',
  'created',
  'running',
  'paused',
  'restarting',
  'exited',
  'dead',
  'removing',
];
const SMALL = { memoryMb: 256, cpuShares: 250, diskMb: 1024 };
const LARGE = { memoryMb: 512, cpuShares: 500, diskMb: 1024 };

/** A plan as a line of text, so that a table shows it whole. */
function print(input: Omit<PlanInput, 'row'> & { status: ContainerStatus; dockerId?: string | null }): string {
  const { status, dockerId = 'a'.repeat(64), ...rest } = input;
  const row = { id: ID, status, dockerId, generation: dockerId === null ? 0 : 3, ...SMALL };
  const { steps, afterwards } = planOperation({ ...rest, row });
  const line = (list: readonly Step[]): string => list.map(word).join(', ');
  return afterwards.length > 0 ? `${line(steps)} | ${line(afterwards)}` : line(steps);
}

function word(step: Step): string {
  const what = step.do.replace('_container', '').replace('ensure_', '');
  return 'target' in step ? `${what} ${step.target === 'current' ? 'A' : 'B'}` : what;
}

const recreate = 'image, volume, create, start B';

describe('the plan of a start', () => {
  const expected: Record<Sighting, string> = {
    unseen: 'start A',
    missing: recreate,
    created: 'start A',
    running: 'start A',
    paused: 'unpause A',
    restarting: 'start A',
    exited: 'start A',
    dead: `remove A, ${recreate}`,
    removing: `remove A, ${recreate}`,
  };

  it.each(SIGHTINGS)('must fit a container that is %s', (sighting) => {
    for (const status of ['running', 'stopped'] as const) {
      expect(print({ verb: 'start', status, sighting })).toBe(expected[sighting]);
    }
  });

  it('must make a container for a row that never had one, whatever was seen', () => {
    for (const sighting of SIGHTINGS) {
      expect(print({ verb: 'start', status: 'error', dockerId: null, sighting })).toBe(
        `${recreate}, confirm_running B`,
      );
    }
  });
});

describe('the plan of a stop', () => {
  const gone: Sighting[] = ['missing', 'dead', 'removing'];

  it.each(SIGHTINGS)('must fit a container that is %s', (sighting) => {
    for (const status of ['running', 'stopped'] as const) {
      expect(print({ verb: 'stop', status, sighting })).toBe(gone.includes(sighting) ? '' : 'stop A');
    }
  });

  it('must do nothing for a row without a container', () => {
    expect(print({ verb: 'stop', status: 'error', dockerId: null, sighting: 'unseen' })).toBe('');
  });
});

describe('the plan of a delete', () => {
  const ofRunning: Record<Sighting, string> = {
    unseen: 'stop A, remove A',
    missing: '',
    created: 'remove A',
    running: 'stop A, remove A',
    paused: 'stop A, remove A',
    restarting: 'stop A, remove A',
    exited: 'remove A',
    dead: 'remove A',
    removing: 'remove A',
  };

  it.each(SIGHTINGS)('must take down a container that is %s', (sighting) => {
    expect(print({ verb: 'delete', status: 'running', sighting })).toBe(ofRunning[sighting]);
    const stopped = sighting === 'unseen' ? 'remove A' : ofRunning[sighting];
    expect(print({ verb: 'delete', status: 'stopped', sighting })).toBe(stopped);
  });

  it('must work for a row without a container, and remove the volume only where none are kept', () => {
    for (const status of ['creating', 'error'] as const) {
      expect(print({ verb: 'delete', status, dockerId: null, sighting: 'unseen' })).toBe('');
      expect(print({ verb: 'delete', status, dockerId: null, sighting: 'unseen', removeVolume: true })).toBe(
        ' | remove_volume',
      );
    }
  });
});

describe('the plan of an update', () => {
  const replace = 'image, create, stop A, start B, confirm_running B | remove A, rename B';
  const alive: Sighting[] = ['unseen', 'created', 'running', 'paused', 'restarting', 'exited'];

  it.each(SIGHTINGS)('must create the new container before it stops one that is %s', (sighting) => {
    const expected = alive.includes(sighting) ? replace : 'image, volume, create | remove A, rename B';
    expect(print({ verb: 'update', status: 'running', sighting, wanted: LARGE })).toBe(expected);
  });

  it.each(SIGHTINGS)('must replace a stopped container without starting it (%s)', (sighting) => {
    const expected = alive.includes(sighting)
      ? 'image, create | remove A, rename B'
      : 'image, volume, create | remove A, rename B';
    expect(print({ verb: 'update', status: 'stopped', sighting, wanted: LARGE })).toBe(expected);
  });

  it('must touch nothing when no resource changes', () => {
    for (const sighting of SIGHTINGS) {
      expect(print({ verb: 'update', status: 'running', sighting, wanted: { ...SMALL } })).toBe('');
    }
  });

  it('must touch nothing for a row without a container', () => {
    expect(print({ verb: 'update', status: 'error', dockerId: null, sighting: 'unseen', wanted: LARGE })).toBe('');
  });

  it('must give the replacement the next generation and a name of its own', () => {
    const row = { id: ID, status: 'running' as const, dockerId: 'a'.repeat(64), generation: 3, ...SMALL };
    const { steps, afterwards } = planOperation({ verb: 'update', row, sighting: 'running', wanted: LARGE });
    expect(steps).toContainEqual(
      expect.objectContaining({ do: 'create_container', generation: 4, name: `berth-${ID}-g4` }),
    );
    expect(afterwards).toContainEqual(expect.objectContaining({ do: 'rename_container', name: `berth-${ID}` }));
  });
});

describe('the plan of a creation', () => {
  it('must make, start and look', () => {
    expect(print({ verb: 'create', status: 'creating', dockerId: null, sighting: 'unseen' })).toBe(
      `${recreate}, confirm_running B`,
    );
  });
});

describe('every plan', () => {
  const verbs: Verb[] = ['create', 'start', 'stop', 'delete', 'update'];
  const statuses: ContainerStatus[] = ['creating', 'running', 'stopped', 'error'];
  const all = verbs.flatMap((verb) =>
    statuses.flatMap((status) =>
      SIGHTINGS.flatMap((sighting) =>
        [null, 'a'.repeat(64)].map((dockerId) => {
          const row = { id: ID, status, dockerId, generation: 3, ...SMALL };
          return { verb, dockerId, plan: planOperation({ verb, row, sighting, wanted: LARGE, removeVolume: true }) };
        }),
      ),
    ),
  );

  it('must say why of each step', () => {
    for (const { plan } of all)
      for (const step of [...plan.steps, ...plan.afterwards]) expect(step.because).not.toBe('');
  });

  it('must not name a container that is not there', () => {
    for (const { plan, dockerId } of all) {
      let made = false;
      for (const step of plan.steps) {
        if (step.do === 'create_container') made = true;
        if (!('target' in step)) continue;
        expect(step.target === 'current' ? dockerId !== null : made).toBe(true);
      }
    }
  });

  it('must remove a volume only for a delete, and after its commit', () => {
    for (const { plan, verb } of all) {
      expect(plan.steps.some((step) => step.do === 'remove_volume')).toBe(false);
      expect(plan.afterwards.some((step) => step.do === 'remove_volume')).toBe(verb === 'delete');
    }
  });

  it('must never start the new container while the old one may run', () => {
    for (const { plan, dockerId } of all.filter(({ verb }) => verb === 'update')) {
      const order = plan.steps.map(word);
      if (dockerId === null || !order.includes('start B')) continue;
      expect(order.indexOf('stop A')).toBeGreaterThan(order.indexOf('create'));
      expect(order.indexOf('start B')).toBeGreaterThan(order.indexOf('stop A'));
    }
  });
});
