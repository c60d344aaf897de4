import * as fc from 'fast-check';
import { PullMeter } from './image-pulls';

const STATUSES = [
  'Pulling fs layer',
  'Waiting',
  'Downloading',
  'Verifying Checksum',
  'Download complete',
  'Extracting',
  'Pull complete',
  'Already exists',
];

describe('the progress of a pull', () => {
  it('must add up the layers by their bytes', () => {
    const meter = new PullMeter();
    const percents = [
      { status: 'Pulling from library/ubuntu', id: '24.04' },
      { status: 'Pulling fs layer', id: 'a' },
      { status: 'Pulling fs layer', id: 'b' },
      { status: 'Downloading', id: 'a', progressDetail: { current: 50, total: 100 } },
      { status: 'Downloading', id: 'b', progressDetail: { current: 300, total: 300 } },
      { status: 'Download complete', id: 'a', progressDetail: {} },
      { status: 'Extracting', id: 'a', progressDetail: { current: 100, total: 100 } },
      { status: 'Pull complete', id: 'a', progressDetail: {} },
      { status: 'Pull complete', id: 'b', progressDetail: {} },
    ].map((line) => {
      meter.update(line);
      return meter.progress.percent;
    });
    expect(percents).toEqual([0, 0, 0, 17, 61, 70, 77, 77, 99]);
  });

  it('must speak to people', () => {
    const meter = new PullMeter();
    expect(meter.progress).toEqual({ percent: 0, message: 'looking for the image' });
    meter.update({ status: 'Pulling fs layer', id: 'a' });
    expect(meter.progress.message).toBe('downloading the image');
    meter.update({ status: 'Extracting', id: 'a', progressDetail: { current: 1, total: 2 } });
    expect(meter.progress.message).toBe('unpacking the image');
  });

  it('must not be slowed down by a registry that names layers without number', () => {
    const meter = new PullMeter();
    meter.update({ status: 'Downloading', id: 'a', progressDetail: { current: 50, total: 100 } });
    const before = performance.now();
    for (let layer = 0; layer < 50_000; layer += 1) meter.update({ status: 'Waiting', id: String(layer) });
    expect(performance.now() - before).toBeLessThan(10_000);
    meter.update({ status: 'Download complete', id: 'a' });
    expect(meter.progress.percent).toBeLessThanOrEqual(99);
  });

  it('must never fall and never pass 99, whatever comes', () => {
    const line = fc.record({
      id: fc.constantFrom('a', 'b', 'c', undefined),
      status: fc.constantFrom(...STATUSES),
      progressDetail: fc.option(fc.record({ current: fc.integer(), total: fc.integer() }, { requiredKeys: [] })),
    });
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const meter = new PullMeter();
        let before = 0;
        for (const update of lines) {
          meter.update(update);
          const { percent } = meter.progress;
          expect(percent).toBeGreaterThanOrEqual(before);
          expect(percent).toBeLessThanOrEqual(99);
          before = percent;
        }
      }),
    );
  });
});
