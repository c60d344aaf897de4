import type { CopyProgress } from '../../engine';
import { RECORD_BYTES } from './volume-worker';
import { CopyMeter } from './volume-copy';

function told(lines: readonly string[]): { reports: CopyProgress[]; bytes: number | null } {
  const reports: CopyProgress[] = [];
  const meter = new CopyMeter((progress) => reports.push(progress));
  for (const line of lines) meter.take(line);
  return { reports, bytes: meter.bytes };
}

describe('how far a copy is', () => {
  beforeEach(() => jest.useFakeTimers({ doNotFake: [] }));
  afterEach(() => jest.useRealTimers());

  const total = `total ${1000 * RECORD_BYTES} ${2000 * RECORD_BYTES}`;

  it('must be reported at each turn, and not at every line', () => {
    const { reports, bytes } = told([total, 'copied 500', 'copied 501', 'checked 0', 'checked 160', 'bytes 4096']);
    expect(reports).toEqual([
      { percent: 0, message: 'copying the data' },
      { percent: 60, message: 'checking the copy' },
      { percent: 100, message: 'the data is copied' },
    ]);
    expect(bytes).toBe(4096);
  });

  it('must never fall, nor reach the end before it is there', () => {
    const reports: CopyProgress[] = [];
    const meter = new CopyMeter((progress) => reports.push(progress));
    for (const line of [total, 'copied 500', 'copied 9000', 'checked 1000', 'checked 160', 'checked 9000', 'bytes 1']) {
      meter.take(line);
      jest.advanceTimersByTime(300);
    }
    expect(reports.map(({ percent }) => percent)).toEqual([0, 30, 60, 79, 99, 100]);
  });

  it('must be read from the scripts’ own lines alone', () => {
    expect(told(['', 'bytes', 'bytes x', 'bytes ', 'other 7', 'total'])).toEqual({ reports: [], bytes: null });
  });
});
