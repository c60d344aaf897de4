import { effect } from '@preact/signals';
import type { RefObject } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { isDark } from './theme';

const time = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });

interface PlotSpec {
  /** Pixels. */
  readonly height: number;
  readonly data: uPlot.AlignedData;
  /** The end of the axis of values, which begins at 0. */
  readonly top: number;
  readonly show: (value: number) => string;
  /** The seconds since 1970 that the axis of times has. @param first null without data */
  readonly span: (first: number | null, last: number | null) => [from: number, to: number];
  /** @param colour the plain colour of a CSS variable */
  readonly series: (colour: (variable: string) => string) => uPlot.Series[];
  readonly cursor: uPlot.Cursor;
  /** Called with the index of the point under the pointer. */
  readonly onPointed?: (index: number | null) => void;
}

/**
 * Draws a chart into the element, as wide as it is and with the colours of the theme.
 *
 * @param spec of the latest render
 * @param changes.series values that change if other series are drawn
 * @param changes.data values that change with the data
 */
export function usePlot(
  place: RefObject<HTMLElement | null>,
  spec: PlotSpec,
  changes: { readonly series: readonly unknown[]; readonly data: readonly unknown[] },
): void {
  const drawn = useRef<uPlot | null>(null);
  const latest = useRef(spec);
  latest.current = spec;

  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const { height } = spec;
    const observer = new ResizeObserver(() => drawn.current?.setSize({ width: element.clientWidth, height }));
    observer.observe(element);
    // A canvas does not follow CSS: the chart is drawn anew with the colours of each theme.
    const dispose = effect(() => {
      void isDark.value;
      const colour = (variable: string): string => resolved(element, variable);
      const axis = { stroke: colour('--text-3'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
      drawn.current?.destroy();
      drawn.current = new uPlot(
        {
          width: element.clientWidth,
          height,
          legend: { show: false },
          cursor: spec.cursor,
          hooks: { setCursor: [(plot) => latest.current.onPointed?.(plot.cursor.idx ?? null)] },
          scales: {
            x: { range: (_plot, first, last) => latest.current.span(first, last) },
            y: { range: () => [0, latest.current.top] },
          },
          axes: [
            {
              ...axis,
              grid: { show: false },
              size: 26,
              space: 80,
              font: '11px system-ui',
              values: (_plot, splits) => splits.map((each) => time.format(each * 1000)),
            },
            {
              ...axis,
              size: 62,
              font: '11px system-ui',
              splits: () => [0, latest.current.top / 2, latest.current.top],
              values: (_plot, splits) => splits.map((each) => latest.current.show(each)),
            },
          ],
          series: [{}, ...latest.current.series(colour)],
        },
        latest.current.data,
        element,
      );
    });
    return () => {
      dispose();
      observer.disconnect();
      drawn.current?.destroy();
      drawn.current = null;
    };
  }, changes.series);

  useEffect(() => drawn.current?.setData(spec.data), changes.data);
}

/** The plain colour of a CSS variable, which may be a `light-dark()`: a canvas takes no other. */
function resolved(element: HTMLElement, variable: string): string {
  const probe = document.createElement('span');
  probe.style.color = `var(${variable})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
