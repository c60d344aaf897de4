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
  caption: 'Snapshots, newest first',
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
    tierAllowsNone: (tier: string) => `Your tier “${tier}” does not include snapshots.`,
    hint:
      'A snapshot saves a container’s files, to restore them or to create more containers from them. ' +
      'Take one on the container’s page.',
    toContainers: 'To your containers',
  },
  nothingFound: {
    title: 'No snapshots match the filter',
    clear: 'Clear filter',
  },
  /** Of one container. */
  own: {
    none: 'No snapshots of this container',
    noneHint: 'A snapshot saves its files, to restore them or to create more containers from them.',
    tierAllowsNone: 'Your tier does not include snapshots.',
    take: 'New snapshot',
  },
  contents: {
    withRoot: '/home/user and files elsewhere, e.g. installed software',
    dataOnly: '/home/user only, without installed software',
  },
  status: {
    making: 'Creating',
    ready: 'Ready',
    failed: 'Failed',
    progress: ({ name, step }: { readonly name: string; readonly step: string }) => `${name}: ${step}`,
    firstStep: 'starting',
    suspended: (time: string) => `suspended ${time}`,
  },
  deletedContainer: 'a deleted container',
  actions: {
    newContainer: 'New container',
    restore: 'Restore',
    restoreOf: (container: string) => `Restore “${container}”`,
    of: ({ action, name }: { readonly action: string; readonly name: string }) => `${action}: ${name}`,
    more: (name: string) => `More for snapshot ${name}`,
    makeTemplate: 'Create template',
    edit: 'Edit',
  },
  remove: {
    question: (name: string) => `Delete snapshot “${name}”?`,
    hint: 'This cannot be undone. Containers created from it are not affected.',
  },
};
