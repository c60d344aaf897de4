import { commonWords } from './common';

/** The texts of the list of deleted containers. */
export const deletedWords = {
  title: 'Deleted',
  hint: 'Can be restored until their data is removed',
  caption: 'Deleted containers, newest first',
  columns: {
    name: commonWords.name,
    image: commonWords.image,
    disk: 'Disk size',
    deleted: 'Deleted',
    removed: 'Permanently deleted',
  },
  /** The names of some of these columns in a card, before their values. */
  cells: { disk: 'disk size', deleted: 'deleted', removed: 'permanently' },
  none: {
    title: 'No deleted containers',
    hint: 'Deleted containers appear here and can be restored until their data is removed.',
    toContainers: 'To your containers',
  },
  restore: 'Restore',
  restoreOf: (name: string) => `Restore ${name}`,
  restored: (name: string) => `“${name}” was restored. It is stopped.`,
};
