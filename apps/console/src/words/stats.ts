interface Traffic {
  readonly peak: string;
  readonly received: string;
  readonly sent: string;
}

/** The texts of the charts of what a container uses. */
export const statsWords = {
  waiting: 'Measuring…',
  notMeasured: 'No data in the last hour',
  unknown: 'Unknown',
  percent: (value: number) => `${String(value)}%`,
  perSecond: (amount: string) => `${amount}/s`,
  /** Beside the value. */
  ofLimit: (limit: string) => `of ${limit}`,
  highest: (peak: string) => `Peak: ${peak}`,
  at: (time: string) => `At ${time}`,
  /** What a screen reader says of a chart. */
  spoken: ({ what, now, peak }: { readonly what: string; readonly now: string; readonly peak: string }) =>
    `${what} in the last hour: now ${now}, at most ${peak}`,
  cpu: {
    title: 'CPU',
    of: (name: string) => `CPU of ${name}`,
    note: 'of its limit',
    noteThrottled: (percent: string) => `of its limit, throttled ${percent} of the time`,
    noLimit: 'No limit',
  },
  memory: {
    title: 'Memory',
    of: (name: string) => `Memory of ${name}`,
  },
  disk: {
    title: 'Disk',
    of: (name: string) => `Disk of ${name}`,
  },
  network: {
    title: 'Network',
    of: (name: string) => `Network of ${name}`,
    in: 'in',
    out: 'out',
    highest: ({ peak, received, sent }: Traffic) => `Peak: ${peak}; in total ${received} in, ${sent} out`,
    none: 'No network',
  },
};
