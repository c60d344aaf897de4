/** Rows of labels and of environment variables. */
export const pairWords = {
  /** A row that has no name yet. */
  row: {
    labels: (number: number) => `label ${String(number)}`,
    env: (number: number) => `variable ${String(number)}`,
  },
  add: { labels: 'Add a label', env: 'Add a variable' },
  nameOf: (row: string) => `Name of ${row}`,
  valueOf: (row: string) => `Value of ${row}`,
  namePlaceholder: { labels: 'name', env: 'NAME' },
  valuePlaceholder: 'value',
  removed: 'removed',
  unset: 'Unset',
  unsetOf: (row: string) => `Unset ${row}`,
  remove: (row: string) => `Remove ${row}`,
  /** @param leftOut the numbers of the lines of which nothing was taken */
  pasted: ({ count, leftOut }: { count: number; leftOut: readonly number[] }) => {
    const filled = count === 1 ? '1 variable added.' : `${String(count)} variables added.`;
    if (leftOut.length === 0) return filled;
    const lines = leftOut.length === 1 ? `Line ${leftOut.join()}` : `Lines ${leftOut.join(', ')}`;
    return `${filled} ${lines} skipped: not NAME=value.`;
  },
};
