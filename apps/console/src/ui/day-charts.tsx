import type { CapacityHistoryView } from '@berth/client';
import type { JSX } from 'preact';
import { useRef } from 'preact/hooks';
import type uPlot from 'uplot';
import { at, count, cpus, megabytes } from '../words/format';
import { now } from '../data/live';
import { resourceWords } from '../words/resources';
import { Shown, useLoaded } from './parts';
import { usePlot } from './plot';

type Sample = CapacityHistoryView['samples'][number];

interface DayChartsProps {
  /** The machine's or node's name, for labels. */
  readonly name: string;
  readonly load: () => Promise<CapacityHistoryView>;
  /** What is reserved now, where the page says it: newer than the last sample, of up to five minutes ago. */
  readonly present: Pick<Sample, 'memory_reserved_mb' | 'cpu_reserved_shares'> | undefined;
}

const DAY_S = 24 * 3600;

const { day: WORDS } = resourceWords;

/** Memory, CPU and running containers of a machine over the last day. Read again with each new sample. */
export function DayCharts({ name, load, present }: DayChartsProps): JSX.Element {
  const loaded = useLoaded(load, [Math.floor(now.value / 300_000)]);
  return (
    <Shown of={loaded}>
      {(history) => {
        const last = history.samples.at(-1);
        const samples =
          last && present
            ? [...history.samples, { ...last, ...present, at: new Date(now.value).toISOString() }]
            : history.samples;
        return samples.length === 0 ? (
          <p class="muted">{WORDS.noSamples}</p>
        ) : (
          <div class="day-charts">
            <Chart
              title={resourceWords.memory}
              name={name}
              samples={samples}
              show={megabytes}
              least={1024}
              lines={[
                [WORDS.reserved, (sample) => sample.memory_reserved_mb],
                [WORDS.used, (sample) => sample.memory_used_mb],
              ]}
            />
            <Chart
              title={resourceWords.cpu}
              name={name}
              samples={samples}
              show={cpus}
              least={1000}
              lines={[
                [WORDS.reserved, (sample) => sample.cpu_reserved_shares],
                [WORDS.used, (sample) => sample.cpu_used_shares],
              ]}
            />
            <Chart
              title={WORDS.runningContainers}
              name={name}
              samples={samples}
              show={(value) => count(Math.round(value))}
              isWhole
              lines={[[WORDS.running, (sample) => sample.running]]}
            />
          </div>
        );
      }}
    </Shown>
  );
}

interface ChartProps {
  readonly title: string;
  readonly name: string;
  readonly samples: readonly Sample[];
  readonly show: (value: number) => string;
  readonly lines: readonly (readonly [label: string, read: (sample: Sample) => number | null])[];
  /** The end of the axis where all values are 0. */
  readonly least?: number;
  /** Whether the values are whole numbers. */
  readonly isWhole?: boolean;
}

const HEIGHT = 120;
const COLOURS = ['--accent', '--ok'] as const;

function Chart({ title, name, samples, show, lines, least = 2, isWhole = false }: ChartProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const known = lines.filter(([, read]) => samples.some((sample) => read(sample) !== null));
  const columns = known.map(([, read]) => samples.map(read));
  const highest = Math.max(0, ...columns.flat().map((value) => value ?? 0));
  // An even number has a whole number in the middle of the axis.
  const top = isWhole ? Math.max(2, Math.ceil(highest / 2) * 2) : highest || least;
  usePlot(
    place,
    {
      height: HEIGHT,
      data: [samples.map((sample) => Date.parse(sample.at) / 1000), ...columns],
      top,
      show,
      span: () => [Date.now() / 1000 - DAY_S, Date.now() / 1000],
      cursor: { show: false },
      series: (colour) =>
        known.map((_line, index) => ({
          stroke: colour(COLOURS[index] ?? '--accent'),
          width: 1.5,
          // One sample alone is no line.
          points: { show: (plot: uPlot): boolean => plot.data[0].length < 2 },
          ...(index === 0 && { fill: colour('--accent-soft') }),
        })),
    },
    { series: [known.map(([label]) => label).join()], data: [samples] },
  );

  const last = samples.at(-1);
  const first = samples[0];
  const latest = known.map(([label, read]) => [label, show((last && read(last)) ?? 0)] as const);
  const hasUnknown = known.length < lines.length;
  return (
    <section class="panel" aria-label={WORDS.chart({ title, machine: name })}>
      <div class="panel-head">
        <h2>{title}</h2>
        {latest.map(([label, value], index) => (
          <span key={label} class="day-value">
            <span class={`day-key key-${String(index)}`} aria-hidden="true" /> {lines.length > 1 && `${label} `}
            <strong>{value}</strong>
          </span>
        ))}
      </div>
      <div
        class="chart"
        ref={place}
        role="img"
        aria-label={WORDS.description({ title, machine: name, since: first ? at(first.at) : null, values: latest })}
      />
      {hasUnknown && last && <p class="small muted day-note">{WORDS.usedUnknown}</p>}
    </section>
  );
}
