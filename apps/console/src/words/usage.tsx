import type { JSX } from 'preact';

interface Share {
  readonly used: number;
  readonly limit: number;
  /** Shows a text smaller. */
  readonly small: (text: string) => JSX.Element;
}

/** The texts of what the user may have, has, and has used. */
export const usageWords = {
  title: 'Usage',
  tier: (name: string) => `Tier ${name}`,
  containers: 'Containers',
  share: ({ used, limit, small }: Share) => (
    <>
      {used} {small(`of ${String(limit)}`)}
    </>
  ),
  runningNow: 'Running now',
  runningHas: ({ memory, cpu }: { readonly memory: string; readonly cpu: string }) => `${memory} memory, ${cpu}`,
  oneAtMost: 'One container at most',
  disk: 'disk',
  agentsOnline: 'Agents online',
  unused: {
    continue: 'Containers are not stopped for being unused',
    stop: (time: string) => `Unused containers stop after ${time}`,
    pause: (time: string) => `Unused containers are paused after ${time}`,
  },
  days: {
    caption: 'Use by day, the newest first',
    day: 'Day (UTC)',
    running: 'Running',
    runningOn: (day: string) => `Running on ${day}`,
    empty: 'Nothing used in the last 31 days',
    emptyText: 'Running containers count by their limits, day by day.',
  },
};
