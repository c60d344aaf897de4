import type { StatsView } from '@berth/client';
import { effect } from '@preact/signals';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { berth } from '../data/berth';
import { bytes, megabytes } from '../data/format';
import type { Container } from '../data/live';
import { inWords } from '../data/words';
import { isDark } from '../ui/theme';

/** As many as are drawn: five minutes, as one comes every two seconds. */
const KEPT = 150;
const AGAIN_MS = 2000;
const MEBIBYTE = 1024 * 1024;

/** What a container uses, as it uses it. */
export function StatsCharts({ container }: { readonly container: Container }): JSX.Element {
  const { db_id, name } = container;
  const [points, setPoints] = useState<readonly StatsView[]>([]);
  const [fault, setFault] = useState<unknown>();

  useEffect(() => {
    const leaving = new AbortController();
    setPoints([]);
    let again: ReturnType<typeof setTimeout> | undefined;
    const read = async (): Promise<void> => {
      for await (const message of berth.stats.follow(db_id, { signal: leaving.signal })) {
        if (message.type === 'end') return;
        setFault(undefined);
        setPoints((before) => [...before.slice(1 - KEPT), message]);
      }
    };
    const readOn = (): void =>
      void read().catch((error: unknown) => {
        if (leaving.signal.aborted) return;
        setFault(error);
        again = setTimeout(readOn, AGAIN_MS);
      });
    readOn();
    return () => {
      leaving.abort(new Error('the page was left'));
      clearTimeout(again);
    };
  }, [db_id, container.id]);

  const last = points.at(-1);
  const limit = last?.memory.limit_bytes ?? null;
  const held = last?.cpu.throttled_percent ?? 0;
  return (
    <>
      {fault !== undefined && <p class="notice warn">{inWords(fault)}</p>}
      <Chart
        title="CPU"
        value={last ? `${String(Math.round(last.cpu.percent_of_limit ?? 0))} %` : '–'}
        note={held >= 1 ? `of its limit, held back ${String(Math.round(held))} % of the time` : 'of its limit'}
        description={`CPU of ${name}`}
        points={points.map(({ at, cpu }) => [Date.parse(at) / 1000, Math.min(cpu.percent_of_limit ?? 0, 100)])}
        max={100}
        show={(value) => `${String(value)} %`}
      />
      <Chart
        title="Memory"
        value={last ? bytes(last.memory.used_bytes) : '–'}
        note={limit === null ? '' : `of ${bytes(limit)}`}
        description={`Memory of ${name}`}
        points={points.map(({ at, memory }) => [Date.parse(at) / 1000, memory.used_bytes / MEBIBYTE])}
        max={(limit ?? last?.memory.used_bytes ?? MEBIBYTE) / MEBIBYTE}
        show={megabytes}
      />
      {last?.network && (
        <p class="small muted">
          Network since its start: {bytes(last.network.rx_bytes)} in, {bytes(last.network.tx_bytes)} out
        </p>
      )}
    </>
  );
}

interface ChartProps {
  readonly title: string;
  readonly value: string;
  readonly note: string;
  readonly description: string;
  readonly points: readonly (readonly [at: number, value: number])[];
  readonly max: number;
  readonly show: (value: number) => string;
}

const HEIGHT = 124;
/** Five minutes, however few points there are yet. */
const SPAN_S = 300;
const minute = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });

function Chart({ title, value, note, description, points, max, show }: ChartProps): JSX.Element {
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<uPlot | null>(null);
  const top = useRef(max);
  top.current = max;

  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => drawn.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    // Colours are the page's own, and of its theme: a canvas does not follow CSS.
    const dispose = effect(() => {
      void isDark.value;
      const style = getComputedStyle(element);
      const colour = (name: string): string => resolved(element, style.getPropertyValue(name));
      const axis = { stroke: colour('--text-3'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
      const data = drawn.current?.data ?? [[], []];
      drawn.current?.destroy();
      drawn.current = new uPlot(
        {
          width: element.clientWidth,
          height: HEIGHT,
          legend: { show: false },
          cursor: { show: false },
          scales: {
            x: { range: (_plot, _min, max) => [(max || Date.now() / 1000) - SPAN_S, max || Date.now() / 1000] },
            y: { range: () => [0, top.current] },
          },
          axes: [
            {
              ...axis,
              grid: { show: false },
              size: 26,
              space: 80,
              font: '11px system-ui',
              values: (_plot, splits) => splits.map((each) => minute.format(each * 1000)),
            },
            {
              ...axis,
              size: 56,
              font: '11px system-ui',
              splits: () => [0, top.current / 2, top.current],
              values: (_plot, splits) => splits.map((each) => show(Math.round(each))),
            },
          ],
          series: [
            {},
            { stroke: colour('--accent'), width: 1.5, fill: colour('--accent-soft'), points: { show: false } },
          ],
        },
        data,
        element,
      );
    });
    return () => {
      dispose();
      observer.disconnect();
      drawn.current?.destroy();
      drawn.current = null;
    };
  }, []);

  useEffect(() => {
    drawn.current?.setData([points.map(([at]) => at), points.map(([, each]) => each)]);
  }, [points]);

  return (
    <section class="panel" aria-label={description}>
      <div class="panel-head">
        <h2>{title}</h2>
        <span>
          <span class="chart-value">{value}</span> <span class="muted small">{note}</span>
        </span>
      </div>
      <div class="chart" ref={place} role="img" aria-label={`${description} in the last minutes: now ${value}`} />
    </section>
  );
}

/** What `light-dark()` comes to now: a canvas takes plain colours alone. */
function resolved(element: HTMLElement, colour: string): string {
  const probe = document.createElement('span');
  probe.style.color = colour;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
