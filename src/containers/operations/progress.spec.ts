import type { Logger } from 'pino';
import type { EventDraft } from '../../events';
import type { ContainerRow } from '../model/container.entity';
import type { OperationLease } from './operation-lease';
import type { Step } from './steps';
import { ProgressReporter } from './progress';

const ROW = {
  id: '0b6f5f0e-5f0b-4a55-9a53-6d1c2b7e0d11',
  name: 'one',
  status: 'creating',
  engineId: null,
} as ContainerRow;
const steps: Step[] = [
  { do: 'ensure_volume', volume: 'v', because: '' },
  { do: 'ensure_image', because: '' },
  { do: 'start_container', target: 'replacement', because: '' },
];

describe("an operation's progress", () => {
  let emitted: number[][];
  let emit: (drafts: readonly EventDraft[]) => Promise<void>;
  let reporter: ProgressReporter;

  beforeEach(() => {
    jest.useFakeTimers();
    emitted = [];
    emit = (drafts) => {
      emitted.push(progressOf(drafts));
      return Promise.resolve();
    };
    const lease = { row: ROW, emit: (drafts: readonly EventDraft[]) => emit(drafts) };
    reporter = new ProgressReporter(lease as unknown as OperationLease, {} as Logger);
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  it('must be written together for steps that follow each other at once', async () => {
    report(0, 2);
    await jest.advanceTimersByTimeAsync(1_000);
    expect(emitted).toEqual([[2, 5]]);
    report(2);
    await jest.advanceTimersByTimeAsync(1_000);
    expect(emitted).toEqual([[2, 5], [80]]);
  });

  it('must be written together where the database is slow', async () => {
    let written: () => void = () => undefined;
    emit = (drafts) => {
      emitted.push(progressOf(drafts));
      return new Promise((resolve) => (written = resolve));
    };
    for (let step = 0; step < 3; step += 1) {
      report(step, step + 1);
      await jest.advanceTimersByTimeAsync(1_000);
    }
    expect(emitted).toEqual([[2]]);
    written();
    await jest.advanceTimersByTimeAsync(0);
    expect(emitted).toEqual([[2], [5, 80]]);
  });

  it('must be left to the outcome as far as it is not written, after what is being written', async () => {
    let written: () => void = () => undefined;
    emit = async (drafts) => {
      await new Promise<void>((resolve) => (written = resolve));
      emitted.push(progressOf(drafts));
    };
    report(0, 2);
    await jest.advanceTimersByTimeAsync(1_000);
    report(2);
    const taken = reporter.take().then((drafts) => [...emitted, progressOf(drafts)]);
    await jest.advanceTimersByTimeAsync(1_000);
    expect(emitted).toEqual([]);
    written();
    expect(await taken).toEqual([[2, 5], [80]]);
    await expectNoMore();
  });

  it('must be written at once before a failure is', async () => {
    report(0);
    await reporter.flush();
    expect(emitted).toEqual([[2, 5, 80]]);
    await expectNoMore();
  });

  async function expectNoMore(): Promise<void> {
    const more = jest.fn(() => Promise.resolve());
    emit = more;
    await jest.advanceTimersByTimeAsync(1_000);
    expect(more).not.toHaveBeenCalled();
  }

  function report(...range: [from: number, to?: number]): void {
    const { onStep } = reporter.listenersOf('create');
    for (const step of steps.slice(...range)) onStep?.(step);
  }
});

function progressOf(drafts: readonly EventDraft[]): number[] {
  return drafts.map(({ data }) => ('progress' in data ? data.progress : NaN));
}
