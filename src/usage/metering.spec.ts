import { type MeteredRow, type MeteredSnapshot, settle, settleSnapshot } from './metering';

const SINCE = new Date('2026-11-26T22:00:00.000Z');
const NOW = new Date('2026-11-26T23:00:00.000Z');
const HOUR = 3_600_000;
const day = (text: string): Date => new Date(`${text}T00:00:00.000Z`);

const running: MeteredRow = {
  status: 'running',
  deletedAt: null,
  purgedAt: null,
  memoryMb: 256,
  cpuShares: 500,
  diskMb: 1024,
  meteredSince: SINCE,
};
const stopped: MeteredRow = { ...running, status: 'stopped' };
const paused: MeteredRow = { ...running, status: 'paused' };
const deleted: MeteredRow = { ...stopped, deletedAt: SINCE };
const creating: MeteredRow = { ...running, status: 'creating', meteredSince: null };

const none = { runningMs: 0, memoryMbMs: 0, cpuSharesMs: 0, diskMbMs: 0, snapshotMbMs: 0, previewBytes: 0 };
const hour = {
  ofRun: { ...none, runningMs: HOUR, memoryMbMs: 256 * HOUR, cpuSharesMs: 500 * HOUR, diskMbMs: 1024 * HOUR },
  ofPause: { ...none, memoryMbMs: 256 * HOUR, diskMbMs: 1024 * HOUR },
  ofDisk: { ...none, diskMbMs: 1024 * HOUR },
};

describe('what a change of a container settles', () => {
  it.each<[string, MeteredRow, Partial<MeteredRow>, keyof typeof hour | null, Date | null]>([
    ['a stop', running, { status: 'stopped' }, 'ofRun', NOW],
    ['a start', stopped, { status: 'running' }, 'ofDisk', NOW],
    ['a pause', running, { status: 'paused' }, 'ofRun', NOW],
    ['the end of a pause', paused, { status: 'running' }, 'ofPause', NOW],
    ['a stop of what is paused', paused, { status: 'stopped' }, 'ofPause', NOW],
    ['a deletion of what is paused', paused, { deletedAt: NOW }, 'ofPause', NOW],
    ['more memory', running, { memoryMb: 512 }, 'ofRun', NOW],
    ['more CPU', running, { cpuShares: 501 }, 'ofRun', NOW],
    ['another disk', stopped, { diskMb: 2048 }, 'ofDisk', NOW],
    ['more memory of what is stopped', stopped, { memoryMb: 512 }, null, SINCE],
    ['a deletion while it runs', running, { deletedAt: NOW }, 'ofRun', NOW],
    ['a deletion of what is stopped', stopped, { deletedAt: NOW }, null, SINCE],
    ['a restore', deleted, { deletedAt: null }, null, SINCE],
    ['a purge', deleted, { purgedAt: NOW }, 'ofDisk', null],
    ['the end of a creation', creating, { status: 'running' }, null, NOW],
    ['a creation that failed', creating, { status: 'error' }, null, null],
    ['a stop of a creation that failed', { ...creating, status: 'error' }, { status: 'stopped' }, null, NOW],
    ['the deletion of a creation', creating, { deletedAt: NOW }, null, null],
    ['a restore of that', { ...creating, deletedAt: SINCE }, { status: 'stopped', deletedAt: null }, null, NOW],
    ['the purge of that', { ...creating, deletedAt: SINCE }, { purgedAt: NOW }, null, null],
    ['a purge of what an earlier version started', { ...deleted, meteredSince: null }, { purgedAt: NOW }, null, null],
    ['any write to what an earlier version started', { ...running, meteredSince: null }, {}, null, NOW],
    ['anything else', running, {}, null, SINCE],
  ])('must be right for %s', (_change, row, patch, used, meteredSince) => {
    const expected = used === null ? [] : [{ day: day('2026-11-26'), ...hour[used] }];
    expect(settle(row, { ...row, ...patch }, NOW)).toEqual({ meteredSince, used: expected });
  });

  it('must be split at UTC midnights, to the millisecond', () => {
    const until = new Date('2026-11-29T00:00:00.001Z');
    const { used } = settle(running, stopped, until);
    expect(used.map((each) => [each.day, each.runningMs, each.diskMbMs])).toEqual([
      [day('2026-11-26'), 2 * HOUR, 2048 * HOUR],
      [day('2026-11-27'), 24 * HOUR, 24 * 1024 * HOUR],
      [day('2026-11-28'), 24 * HOUR, 24 * 1024 * HOUR],
      [day('2026-11-29'), 1, 1024],
    ]);
    expect(settle(running, stopped, day('2026-11-27')).used).toHaveLength(1);
  });

  it('must never go back behind what is settled, where the clock does', () => {
    const behind = new Date(SINCE.getTime() - HOUR);
    expect(settle(running, stopped, behind)).toEqual({ meteredSince: SINCE, used: [] });
  });
});

describe('what a change of a snapshot settles', () => {
  const ready: MeteredSnapshot = {
    status: 'ready',
    isTransient: false,
    dataBytes: 2 ** 20,
    layerBytes: 1,
    meteredSince: SINCE,
  };
  const making: MeteredSnapshot = { ...ready, status: 'making', dataBytes: 1, meteredSince: null };

  it.each<[string, MeteredSnapshot, Partial<MeteredSnapshot>, number | null, Date | null]>([
    ['its becoming ready', making, { status: 'ready', dataBytes: 2 ** 20 }, null, NOW],
    ['its becoming ready for a fork', { ...making, isTransient: true }, { status: 'ready' }, null, null],
    ['its failure', making, { status: 'failed' }, null, null],
    ['its deletion', ready, { status: 'deleting' }, 2 * HOUR, null],
    ['its loss', ready, { status: 'failed' }, 2 * HOUR, null],
    ['a deletion before it is ready', making, { status: 'deleting' }, null, null],
    ['a new name', ready, {}, null, SINCE],
  ])('must be right for %s', (_change, row, patch, used, meteredSince) => {
    const expected = used === null ? [] : [{ ...none, day: day('2026-11-26'), snapshotMbMs: used }];
    expect(settleSnapshot(row, { ...row, ...patch }, NOW)).toEqual({ meteredSince, used: expected });
  });
});
