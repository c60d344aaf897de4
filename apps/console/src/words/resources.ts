/** Amounts of memory, CPU and disk: in tables, as what is reserved and free, and over the last day. */
export const resourceWords = {
  memory: 'Memory',
  cpu: 'CPU',
  disk: 'Disk',
  amounts: ({ memory, cpus, disk }: { memory: string; cpus: string; disk: string }) =>
    `${memory} · ${cpus} · ${disk} disk`,
  /** The heads of the columns of what was used. */
  used: {
    memory: 'Memory (GB·h)',
    cpu: 'CPU (h)',
    disk: 'Disk (GB·h)',
    snapshots: 'Snapshots (GB·h)',
    previews: 'Previews (MB)',
  },
  /** What follows a reserved or a free amount. */
  capacity: {
    reservedOfUnknown: (machine: string) => `reserved; the size of the ${machine} is unknown`,
    reserved: ({ limit, machine, total, more }: { limit: string; machine: string; total: string; more: string }) =>
      `of ${limit} reserved; the ${machine} has ${total}, ${more}`,
    noOvercommit: 'no overcommit',
    overcommit: (factor: string) => `overcommit ${factor}`,
    free: 'free',
    freeOf: (total: string) => `of ${total} free`,
  },
  day: {
    noSamples: 'No samples yet. One is taken every five minutes.',
    runningContainers: 'Running containers',
    reserved: 'Reserved',
    used: 'Used',
    running: 'Running',
    usedUnknown: 'Actual usage is unknown because Berth does not run on this machine.',
    chart: ({ title, machine }: { title: string; machine: string }) => `${title} of ${machine}`,
    /** For screen readers, with the last value of each line. */
    description: (chart: {
      title: string;
      machine: string;
      since: string | null;
      values: readonly (readonly [label: string, value: string])[];
    }) => {
      const { title, machine, since, values } = chart;
      const now = values.map(([label, value]) => `${label.toLowerCase()} ${value}`).join(', ');
      return `${title} of ${machine} ${since === null ? '' : `since ${since}`}: now ${now}`;
    },
  },
};
