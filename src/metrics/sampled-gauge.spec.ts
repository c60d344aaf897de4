import { createLogger } from '../logging';
import { parseConfig } from '../config';
import { Metrics } from './metrics';
import { Sample, SampledGauge } from './sampled-gauge';

const logger = createLogger(parseConfig({ LOG_LEVEL: 'silent' }));

/** The lines of one metric that hold values. */
const values = async (metrics: Metrics): Promise<string[]> =>
  (await metrics.text()).split('\n').filter((line) => line.startsWith('sampled'));

function gauge(sample: () => Promise<readonly Sample[]>, labelNames: string[] = []): Metrics {
  const metrics = new Metrics();
  new SampledGauge(metrics, { name: 'sampled', help: 'x', labelNames, sample, logger });
  return metrics;
}

describe('a sampled gauge', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => jest.useRealTimers());

  it('must ask at most every five seconds, however many scrape', async () => {
    let asked = 0;
    const metrics = gauge(() => Promise.resolve([{ value: (asked += 1) }]));

    expect(await Promise.all([values(metrics), values(metrics)])).toEqual([['sampled 1'], ['sampled 1']]);
    jest.advanceTimersByTime(4_999);
    expect(await values(metrics)).toEqual(['sampled 1']);
    jest.advanceTimersByTime(1);
    expect(await values(metrics)).toEqual(['sampled 2']);
  });

  it.each<[string, string[], Sample[]]>([
    ['without labels', [], [{ value: 3 }]],
    ['with labels', ['status'], [{ labels: { status: 'running' }, value: 3 }]],
  ])('must leave out values that cannot be had, %s, and have them again afterwards', async (_what, names, samples) => {
    const sample = jest.fn(() => Promise.resolve(samples));
    const metrics = gauge(sample, names);
    const first = await values(metrics);
    expect(first).toHaveLength(1);

    sample.mockRejectedValueOnce(new Error('down'));
    jest.advanceTimersByTime(5_000);
    expect(await values(metrics)).toEqual([]);

    jest.advanceTimersByTime(5_000);
    expect(await values(metrics)).toEqual(first);
  });

  it('must forget a label that is not there any more', async () => {
    const sample = jest.fn(() => Promise.resolve([{ labels: { kind: 'new' }, value: 1 }]));
    sample.mockResolvedValueOnce([{ labels: { kind: 'old' }, value: 1 }]);
    const metrics = gauge(sample, ['kind']);
    await values(metrics);
    jest.advanceTimersByTime(5_000);
    expect(await values(metrics)).toEqual(['sampled{kind="new"} 1']);
  });

  it('must not hold up a scrape where there is no answer, nor ask once more meanwhile', async () => {
    const sample = jest.fn(() => new Promise<never>(() => undefined));
    const metrics = gauge(sample);
    for (let scrape = 0; scrape < 2; scrape += 1) {
      const scraped = values(metrics);
      await jest.advanceTimersByTimeAsync(2_000);
      expect(await scraped).toEqual([]);
      await jest.advanceTimersByTimeAsync(5_000);
    }
    expect(sample).toHaveBeenCalledTimes(1);
  });
});
