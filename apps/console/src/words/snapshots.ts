import { commonWords } from './common';

interface Usage {
  readonly count: number;
  readonly limit: number;
  readonly size: string;
  readonly sizeLimit: string;
}

/** The texts of the lists of snapshots. */
export const snapshotsWords = {
  title: 'Snapshots',
  usage: ({ count, limit, size, sizeLimit }: Usage) => `${String(count)} of ${String(limit)}, ${size} of ${sizeLimit}`,
  usageHint: 'Size of your snapshots',
  filter: 'Filter by name, container, image or label',
  filterExample: 'Filter: name, container, image, label',
  caption: 'Snapshots, the newest first',
  columns: {
    name: commonWords.name,
    status: commonWords.status,
    container: 'Container',
    contents: 'Contents',
    size: 'Size',
    taken: 'Taken',
  },
  /** The names of some of these columns in a card, before their values. */
  cells: { container: 'of', size: 'size', taken: 'taken' },
  none: {
    title: 'No snapshots',
    titleYet: 'No snapshots yet',
    tierAllowsNone: (tier: string) => `Your tier “${tier}” allows none.`,
    hint:
      'A snapshot keeps the files of a container, to return to them or to create more containers from them. ' +
      'Take one on the container’s page.',
    toContainers: 'To your containers',
  },
  nothingFound: {
    title: 'No snapshot matches the filter',
    clear: 'Clear the filter',
  },
  /** Of one container. */
  own: {
    none: 'No snapshots of this container',
    noneHint: 'A snapshot keeps its files, to return to them or to create more containers from them.',
    tierAllowsNone: 'Your tier allows none.',
    take: 'Take a snapshot',
  },
  contents: {
    withRoot: 'The files of /home/user, and what was written elsewhere, such as installed software',
    dataOnly: 'The files of /home/user; not what was written elsewhere, such as installed software',
  },
  status: {
    making: 'Making',
    ready: 'Ready',
    failed: 'Failed',
    progress: ({ name, step }: { readonly name: string; readonly step: string }) => `${name}: ${step}`,
    firstStep: 'being made',
    suspended: (time: string) => `suspended ${time}`,
  },
  deletedContainer: 'a deleted container',
  actions: {
    newContainer: 'New container',
    restore: 'Restore',
    restoreOf: (container: string) => `Restore “${container}”`,
    of: ({ action, name }: { readonly action: string; readonly name: string }) => `${action}: ${name}`,
    more: (name: string) => `More for snapshot ${name}`,
    makeTemplate: 'Make a template',
    edit: 'Edit',
  },
  remove: {
    question: (name: string) => `Delete snapshot “${name}”?`,
    hint: 'It cannot be brought back. Containers that were created from it stay as they are.',
  },
};
