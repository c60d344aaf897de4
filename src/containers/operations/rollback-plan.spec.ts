import type { EngineState, ListedContainer } from '../../engine';
import type { Operation } from '../model/container.entity';
import { mayHoldData, planRollback, RollbackStep } from './rollback-plan';

const ID = '11111111-2222-4333-8444-555555555555';
const NAME = `berth-${ID}`;

function listed(engineId: string, state: EngineState, name = NAME): ListedContainer {
  return { engineId, name, state, createdAt: new Date(0), containerId: ID, generation: null, connected: true };
}

function recover(
  status: 'running' | 'stopped' | 'creating',
  interrupted: Operation,
  found: ListedContainer[],
  { engineId = 'A', volumes = [] }: { engineId?: string | null; volumes?: readonly string[] } = {},
): string {
  const current = found.find((container) => container.engineId === engineId) ?? null;
  const steps = planRollback({
    row: { nodeId: null, formerNodeId: null, id: ID, status, engineId, volumeName: 'V' },
    interrupted,
    listed: found,
    current,
    volumes: volumes.map((name) => ({ name, containerId: ID, labelled: true })),
  });
  return steps.map(word).join(', ');
}

function word(step: RollbackStep): string {
  return `${step.do.replace('_container', '')} ${step.do === 'remove_volume' ? step.volume : step.engineId}`;
}

describe('the rollback of a resize that ended after', () => {
  const aside = (state: EngineState): ListedContainer => listed('A', state, `${NAME}-g1`);
  const beside = (state: EngineState): ListedContainer => listed('B', state, `${NAME}-g2`);
  const replacement = (state: EngineState): ListedContainer => listed('B', state);

  it.each([
    ['the lease', [listed('A', 'running')], ''],
    ['the creation of the new container', [listed('A', 'running'), beside('created')], 'remove B'],
    ['the stop of the old one', [listed('A', 'exited'), beside('created')], 'remove B, start A'],
    ['the renaming of the old one, which still runs', [aside('running'), beside('created')], 'remove B, rename A'],
    ['both renamings, and the old one still runs', [aside('running'), replacement('created')], 'remove B, rename A'],
    ['the renaming of the old one', [aside('exited'), beside('created')], 'remove B, start A, rename A'],
    ['both renamings', [aside('exited'), replacement('created')], 'remove B, start A, rename A'],
    ['the start of the new one', [aside('exited'), replacement('running')], 'remove B, start A, rename A'],
    ['the crash of the new one', [aside('exited'), replacement('exited')], 'remove B, start A, rename A'],
  ])('%s must end with the old one running alone, under its name', (_step, found, expected) => {
    expect(recover('running', 'update', found)).toBe(expected);
    expect(recover('running', 'undo', found)).toBe(expected);
  });

  it.each([
    ['its commit', [aside('exited'), replacement('running')], 'remove A'],
    ['its commit and the removal', [replacement('running')], ''],
    ['its commit, by an earlier version of Berth', [listed('A', 'exited'), beside('running')], 'remove A, rename B'],
    ['its commit and the removal, by an earlier version', [beside('running')], 'rename B'],
  ])('%s must end with the new one alone, under its name', (_step, found, expected) => {
    expect(recover('running', 'reconcile', found, { engineId: 'B' })).toBe(expected);
  });

  it('the creation of a new container for a stopped one must not start anything', () => {
    expect(recover('stopped', 'update', [listed('A', 'exited'), beside('created')])).toBe('remove B');
    expect(recover('stopped', 'update', [aside('exited'), replacement('created')])).toBe('remove B, rename A');
  });
});

describe('the rollback of a move to another volume that ended after', () => {
  const replacement = (state: EngineState): ListedContainer => listed('B', state, `${NAME}-g2`);
  const worker = (state: EngineState): ListedContainer => listed('M', state, `${NAME}-move`);

  it.each([
    ['the measuring', [listed('A', 'running'), worker('exited')], ['V'], 'remove M'],
    ['the making of the new volume', [listed('A', 'running')], ['V', 'W'], 'remove_volume W'],
    ['the creation', [listed('A', 'running'), replacement('created')], ['V', 'W'], 'remove B, remove_volume W'],
    ['the stop', [listed('A', 'exited'), replacement('created')], ['V', 'W'], 'remove B, start A, remove_volume W'],
    [
      'the beginning of the copy',
      [listed('A', 'exited'), replacement('created'), worker('running')],
      ['V', 'W'],
      'remove B, remove M, start A, remove_volume W',
    ],
    ['the copy', [listed('A', 'exited'), replacement('created')], ['V', 'W'], 'remove B, start A, remove_volume W'],
    ['the start', [listed('A', 'exited'), replacement('running')], ['V', 'W'], 'remove B, start A, remove_volume W'],
  ])('%s must end with the old one running on the old volume, alone', (_step, found, volumes, expected) => {
    expect(recover('running', 'update', found, { volumes })).toBe(expected);
    expect(recover('running', 'undo', found, { volumes })).toBe(expected);
    expect(recover('stopped', 'update', found, { volumes })).toBe(expected.replace(/(, )?start A/, ''));
  });

  it.each([
    ['the commit', [listed('A', 'exited'), replacement('running')], ['U', 'V'], 'remove A, rename B, remove_volume U'],
    ['the removal of the old one', [replacement('running')], ['U', 'V'], 'rename B, remove_volume U'],
    ['the renaming', [listed('B', 'running')], ['U', 'V'], 'remove_volume U'],
    ['everything', [listed('B', 'running')], ['V'], ''],
  ])('%s must end with the new one on the new volume, alone', (_step, found, volumes, expected) => {
    expect(recover('running', 'reconcile', found, { engineId: 'B', volumes })).toBe(expected);
  });

  it('the copy for a row without a container must leave the old volume', () => {
    expect(recover('creating', 'update', [worker('running')], { engineId: null, volumes: ['V', 'W'] })).toBe(
      'remove M, remove_volume W',
    );
  });
});

describe('the rollback of a move to another machine that ended after', () => {
  const here = (state: EngineState): ListedContainer => listed('one/A', state);
  const there = (state: EngineState): ListedContainer => listed('two/B', state);
  const worker = (node: string): ListedContainer => listed(`${node}/M`, 'running', `${NAME}-move`);

  /** @param volumes as `node:name` */
  function rollBack(
    found: readonly ListedContainer[],
    volumes: readonly string[],
    { at = 'one', status = 'running' }: { at?: 'one' | 'two'; status?: 'running' | 'stopped' } = {},
  ): string {
    const own = at === 'one' ? { engineId: 'one/A', volumeName: 'V' } : { engineId: 'two/B', volumeName: 'W' };
    const steps = planRollback({
      row: { id: ID, status, nodeId: at, formerNodeId: null, ...own },
      interrupted: 'move',
      listed: found,
      current: found.find(({ engineId }) => engineId === own.engineId) ?? null,
      volumes: volumes.map((volume) => {
        const [node = '', name = ''] = volume.split(':');
        return { node, name, containerId: ID, labelled: true };
      }),
    });
    return steps
      .map((step) => (step.do === 'remove_volume' ? `${step.node ?? ''}:${word(step)}` : word(step)))
      .join(', ');
  }

  it.each([
    ['the reservation', [here('running')], ['one:V'], ''],
    ['the new volume', [here('running')], ['one:V', 'two:W'], 'two:remove_volume W'],
    ['the new container', [here('running'), there('created')], ['one:V', 'two:W'], 'remove two/B, two:remove_volume W'],
    [
      'the stop',
      [here('exited'), there('created')],
      ['one:V', 'two:W'],
      'remove two/B, start one/A, two:remove_volume W',
    ],
    [
      'the beginning of the copy',
      [here('exited'), there('created'), worker('one'), worker('two')],
      ['one:V', 'two:W'],
      'remove two/B, remove one/M, remove two/M, start one/A, two:remove_volume W',
    ],
    [
      'the start of the new one',
      [here('exited'), there('running')],
      ['one:V', 'two:W'],
      'remove two/B, start one/A, two:remove_volume W',
    ],
    ['the death of the other machine', [here('exited')], ['one:V'], 'start one/A'],
  ])('%s must end with the old one running on the old volume, alone', (_step, found, volumes, expected) => {
    expect(rollBack(found, volumes)).toBe(expected);
    expect(rollBack(found, volumes, { status: 'stopped' })).toBe(expected.replace(/(, )?start one\/A/, ''));
  });

  it.each([
    ['the commit', [here('exited'), there('running')], ['one:V', 'two:W'], 'remove one/A, one:remove_volume V'],
    ['the removal of the old container', [there('running')], ['one:V', 'two:W'], 'one:remove_volume V'],
    ['everything', [there('running')], ['two:W'], ''],
    ['the commit, with both volumes of one name', [there('running')], ['one:W', 'two:W'], 'one:remove_volume W'],
  ])('%s must end with the new one on the new volume, alone', (_step, found, volumes, expected) => {
    expect(rollBack(found, volumes, { at: 'two' })).toBe(expected);
  });
});

describe('the rollback of a snapshot', () => {
  it('must resume what it suspended, and nothing else', () => {
    for (const interrupted of ['snapshot', 'undo'] as const) {
      expect(recover('running', interrupted, [listed('A', 'paused')])).toBe('unpause A');
      expect(recover('running', interrupted, [listed('A', 'paused'), listed('W', 'running', `${NAME}-move`)])).toBe(
        'remove W, unpause A',
      );
      expect(recover('running', interrupted, [listed('A', 'running')])).toBe('');
      expect(recover('stopped', interrupted, [listed('A', 'exited')])).toBe('');
    }
    // The row says that a pause was asked for, or the row follows Docker.
    expect(recover('running', 'reconcile', [listed('A', 'paused')])).toBe('');
  });
});

describe('the rollback', () => {
  it('must remove what a creation left, whatever its state', () => {
    expect(recover('creating', 'create', [listed('B', 'running')], { engineId: null })).toBe('remove B');
    expect(recover('creating', 'create', [listed('B', 'created'), listed('C', 'broken')], { engineId: null })).toBe(
      'remove B, remove C',
    );
  });

  it('must not start again what a stop was asked to stop, or what ended by itself', () => {
    for (const operation of ['stop', 'expire', 'idle', 'reconcile'] as const) {
      expect(recover('running', operation, [listed('A', 'exited')])).toBe('');
    }
  });

  it('must start again what a delete that failed had stopped', () => {
    expect(recover('running', 'undo', [listed('A', 'exited')])).toBe('start A');
  });

  it('must start again what could not be started when the rollback was first tried, and has been emitted as stopped', () => {
    expect(recover('stopped', 'restart', [listed('A', 'exited'), listed('B', 'created')])).toBe('remove B, start A');
    expect(recover('stopped', 'restart', [listed('A', 'running')])).toBe('');
    expect(recover('stopped', 'restart', [])).toBe('');
  });

  it('must have nothing to do where Docker is as the row says', () => {
    for (const operation of ['create', 'start', 'stop', 'delete', 'update', 'undo', 'reconcile'] as const) {
      expect(recover('running', operation, [listed('A', 'running')])).toBe('');
      expect(recover('stopped', operation, [listed('A', 'exited')])).toBe('');
      expect(recover('stopped', operation, [])).toBe('');
    }
  });

  it('must believe the inspection where the list is behind it', () => {
    const steps = planRollback({
      row: { id: ID, status: 'running', engineId: 'A', nodeId: null, formerNodeId: null, volumeName: 'V' },
      interrupted: 'undo',
      volumes: [],
      listed: [listed('A', 'running')],
      current: listed('A', 'exited'),
    });
    expect(steps.map((step) => step.do)).toEqual(['start_container']);
  });
});

it.each([
  [null, null, 'one', true],
  ['one', null, 'one', true],
  ['one', null, 'two', false],
  [null, 'one', 'one', true],
  [null, 'one', 'two', false],
  ['two', 'one', 'one', true],
  ['two', 'one', 'two', true],
  ['two', 'one', 'three', false],
])(
  'a row on %s that was given up with %s must take a volume on %s for its own: %s',
  (nodeId, formerNodeId, node, is) => {
    const row = { volumeName: 'V', nodeId, formerNodeId };
    expect(mayHoldData(row, { name: 'V', node })).toBe(is);
    expect(mayHoldData(row, { name: 'W', node })).toBe(false);
  },
);
