/** The texts of all users' snapshots. */
export const adminSnapshotWords = {
  title: 'All snapshots',
  onlyOneUser: 'Only of one user: show all',
  empty: 'No snapshots',
  caption: 'Snapshots, the newest first',
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
    `It belongs to ${user}. This cannot be undone. Containers that were created from it stay.`,
};
