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
  oneAtMost: 'Maximum per container',
  disk: 'disk',
  agentsOnline: 'Agents online',
  unused: {
    continue: 'Idle containers keep running',
    stop: (time: string) => `Idle containers stop after ${time}`,
    pause: (time: string) => `Idle containers pause after ${time}`,
  },
  days: {
    caption: 'Usage by day, newest first',
    day: 'Day (UTC)',
    running: 'Running',
    runningOn: (day: string) => `Running on ${day}`,
    empty: 'No usage in the last 31 days',
    emptyText: 'Running containers count by their limits, day by day.',
  },
};
