/** The texts of all users' snapshots. */
export const adminSnapshotWords = {
  title: 'All snapshots',
  onlyOneUser: 'Only one user: show all',
  empty: 'No snapshots',
  caption: 'Snapshots, newest first',
  columns: {
    contents: 'Contents',
    size: 'Size',
    taken: 'Taken',
  },
  cells: {
    user: 'user',
    taken: 'taken',
  },
  deleteQuestion: (name: string) => `Delete snapshot “${name}”?`,
  deleteEffect: (user: string) =>
    `It belongs to ${user}. This cannot be undone. Containers created from it are not affected.`,
};
