import { commonWords } from './common';

/** The texts of the list of deleted containers. */
export const deletedWords = {
  title: 'Deleted',
  hint: 'Kept for a while, with their data',
  caption: 'Deleted containers, the newest first',
  columns: {
    name: commonWords.name,
    image: commonWords.image,
    disk: 'Disk size',
    deleted: 'Deleted',
    removed: 'Removed for good',
  },
  /** The names of some of these columns in a card, before their values. */
  cells: { disk: 'disk size', deleted: 'deleted', removed: 'for good' },
  none: {
    title: 'Nothing here',
    hint: 'Containers that you delete can be restored from here until their data is removed for good.',
    toContainers: 'To your containers',
  },
  restore: 'Restore',
  restoreOf: (name: string) => `Restore ${name}`,
  restored: (name: string) => `“${name}” is back, stopped.`,
};
