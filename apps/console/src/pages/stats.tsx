import type { JSX } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';
import { bytes, timeOfDay } from '../words/format';
import { HOUR_S, type Sample, type Usage } from '../data/statistics';
import { statsWords } from '../words/stats';
import { Fault } from '../ui/parts';
import { usePlot } from '../ui/plot';

const MEBIBYTE = 1024 * 1024;

/** A container that was not measured for longer did not run, or its server did not: no line leads across that. */
const GAP_S = 75;

/** The disk is measured some seconds after the page was opened. */
const DISK_WITHIN_MS = 20_000;

interface ChartsProps {
  readonly name: string;
  readonly usage: Usage;
  readonly diskMb: number;
  readonly isUp: boolean;
}

/** What a container used in the last hour, and uses now. */
export function UsageCharts({ name, usage, diskMb, isUp }: ChartsProps): JSX.Element {
  const { samples, latest, fault, isRead } = usage;
  const columns = useMemo(() => columnsOf(samples), [samples]);
  const last = samples.at(-1);
  const limit = last?.memoryLimit ?? null;
  const throttled = Math.round(latest?.cpu.throttled_percent ?? 0);
  const diskLimit = diskMb * MEBIBYTE;
  // The disk is measured while the page is open, so its chart begins with the first value.
  const firstDisk = Math.max(
    0,
    columns.disk.findIndex((value) => value !== null),
  );
  const [opened] = useState(() => Date.now());
  const quiet = isUp || !isRead ? statsWords.waiting : statsWords.notMeasured;
  const waiting = fault === undefined ? quiet : statsWords.unknown;
  // An image may lack the program that counts it.
  const isDiskLate = latest !== null && Date.now() - opened > DISK_WITHIN_MS;
  const percent = (value: number): string => statsWords.percent(Math.round(value));
  const rate = (value: number): string => statsWords.perSecond(bytes(Math.round(value)));
  const { cpu, memory, disk, network } = statsWords;
  const traffic = latest?.network;
  return (
    <>
      {fault !== undefined && <Fault of={fault} />}
      <div class="charts">
        <Chart
          title={cpu.title}
          note={throttled >= 1 ? cpu.noteThrottled(percent(throttled)) : cpu.note}
          description={cpu.of(name)}
          times={columns.times}
          series={[{ values: columns.cpu, colour: '--accent', fill: '--accent-soft' }]}
          max={100}
          show={percent}
          waiting={latest && latest.cpu.percent_of_limit === null ? cpu.noLimit : waiting}
          isNow={latest !== null}
        />
        <Chart
          title={memory.title}
          note={limit === null ? '' : statsWords.ofLimit(bytes(limit))}
          description={memory.of(name)}
          times={columns.times}
          series={[{ values: columns.memory, colour: '--accent', fill: '--accent-soft' }]}
          max={limit ?? highest(columns.memory, MEBIBYTE)}
          show={bytes}
          waiting={waiting}
          isNow={latest !== null}
        />
        <Chart
          title={disk.title}
          note={statsWords.ofLimit(bytes(diskLimit))}
          description={disk.of(name)}
          times={columns.times.slice(firstDisk)}
          series={[{ values: columns.disk.slice(firstDisk), colour: '--accent', fill: '--accent-soft' }]}
          max={Math.max(diskLimit, highest(columns.disk, 0))}
          show={bytes}
          waiting={isDiskLate ? statsWords.unknown : waiting}
          isNow={latest !== null}
        />
        <Chart
          title={network.title}
          note=""
          highest={(peak) =>
            traffic
              ? network.highest({ peak, received: bytes(traffic.rx_bytes), sent: bytes(traffic.tx_bytes) })
              : statsWords.highest(peak)
          }
          description={network.of(name)}
          times={columns.times}
          series={[
            { key: 'in', name: network.in, values: columns.received, colour: '--accent', fill: '--accent-soft' },
            { key: 'out', name: network.out, values: columns.sent, colour: '--ok' },
          ]}
          max={roundUp(Math.max(highest(columns.received, 1024), highest(columns.sent, 1024)))}
          show={rate}
          waiting={latest && latest.network === null ? network.none : waiting}
          isNow={latest !== null}
        />
      </div>
    </>
  );
}

type Values = readonly (number | null)[];

interface Columns {
  readonly times: readonly number[];
  readonly cpu: Values;
  readonly memory: Values;
  readonly disk: Values;
  readonly received: Values;
  readonly sent: Values;
}

/** The samples as the charts take them, with a place of nothing in each gap. */
function columnsOf(samples: readonly Sample[]): Columns {
  const rows: (Sample | { readonly at: number })[] = [];
  for (const sample of samples) {
    const before = rows.at(-1);
    if (before && sample.at - before.at > GAP_S) rows.push({ at: before.at + 1 });
    rows.push(sample);
  }
  const valuesOf = (key: Exclude<keyof Sample, 'at' | 'memoryLimit'>): Values =>
    rows.map((row) => (key in row ? (row as Sample)[key] : null));
  return {
    times: rows.map(({ at }) => at),
    cpu: valuesOf('cpu').map((value) => (value === null ? null : Math.min(value, 100))),
    memory: valuesOf('memory'),
    disk: valuesOf('disk'),
    received: valuesOf('received'),
    sent: valuesOf('sent'),
  };
}

const highest = (values: Values, least: number): number =>
  values.reduce<number>((most, value) => Math.max(most, value ?? 0), least);

/** To one, two or five times a power of two, so that the axis does not change with every value. */
function roundUp(value: number): number {
  const power = 1024 ** Math.floor(Math.log(value) / Math.log(1024));
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1024].find((each) => each * power >= value);
  return (step ?? 1024) * power;
}

interface Series {
  /** Where there are several: its class, and what it is called. */
  readonly key?: 'in' | 'out';
  readonly name?: string;
  readonly values: Values;
  /** The names of the page's colours. */
  readonly colour: string;
  readonly fill?: string;
}

interface ChartProps {
  readonly title: string;
  readonly note: string;
  /** Says the highest value. */
  readonly highest?: (peak: string) => string;
  readonly description: string;
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly max: number;
  readonly show: (value: number) => string;
  /** What to say where there is nothing to draw. */
  readonly waiting: string;
  /** Whether the last values are those of now. */
  readonly isNow: boolean;
}

const HEIGHT = 116;
/** The least time that a chart shows, however few points there are yet. */
const LEAST_S = 300;

function Chart({
  title,
  note,
  highest: sayHighest = statsWords.highest,
  description,
  times,
  series,
  max,
  show,
  waiting,
  isNow,
}: ChartProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const [pointed, setPointed] = useState<number | null>(null);
  usePlot(
    place,
    {
      height: HEIGHT,
      data: [[...times], ...series.map(({ values }) => [...values])],
      top: max,
      show,
      span,
      // The charts of a page point to the same moment.
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: 'usage' } },
      onPointed: setPointed,
      series: (colour) =>
        series.map(({ colour: stroke, fill }) => ({
          stroke: colour(stroke),
          width: 1.5,
          ...(fill !== undefined && { fill: colour(fill) }),
          // A single value makes no line.
          points: { show: (plot: uPlot): boolean => plot.data[0].length < 3, size: 5 },
        })),
    },
    { series: [], data: [times] },
  );

  const isKnown = series.some(({ values }) => values.some((value) => value !== null));
  const at = pointed !== null && pointed < times.length ? pointed : null;
  const valueAt = ({ values }: Series, index: number | null): string => {
    const last = isNow ? values.findLast((each) => each !== null) : null;
    const value = index === null ? last : values[index];
    return value === null || value === undefined ? '–' : show(value);
  };
  const peak = show(Math.max(...series.map(({ values }) => highest(values, 0))));
  const now = series.map((each) => [valueAt(each, null), each.name ?? ''].join(' ').trim()).join(', ');
  const below =
    at === null ? sayHighest(peak) : statsWords.at(timeOfDay(new Date((times[at] ?? 0) * 1000).toISOString()));
  return (
    <section class="panel" aria-label={description}>
      <div class="panel-head chart-head">
        <h2>{title}</h2>
        <span class="chart-says">
          {series.map((each) => (
            <span key={each.key} class={each.key === undefined ? 'chart-value' : `chart-value several ${each.key}`}>
              {valueAt(each, at)}
              {each.name !== undefined && <span class="muted small"> {each.name}</span>}
            </span>
          ))}{' '}
          <span class="muted small">{note}</span>
        </span>
      </div>
      <div class="chart-area">
        <div
          class="chart"
          ref={place}
          role="img"
          aria-label={statsWords.spoken({ what: description, now, peak })}
          data-points={isKnown ? times.length : 0}
        />
        {!isKnown && <p class="chart-nothing muted">{waiting}</p>}
      </div>
      <p class="chart-below small muted">{isKnown ? below : '\u00a0'}</p>
    </section>
  );
}

/** From when to when a chart is drawn: as far as there are points, at least some minutes and at most an hour. */
function span(first: number | null, end: number | null): [number, number] {
  const to = end ?? Date.now() / 1000;
  return [Math.max(to - HOUR_S, Math.min(first ?? to, to - LEAST_S)), to];
}
