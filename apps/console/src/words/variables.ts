/** The environment variables of a container. */
export const variableWords = {
  title: 'Environment variables',
  none: 'None.',
  hint: 'Used by programs started from now on. Running programs keep their values.',
  /** Of a fixed length, which says nothing of the value. */
  mask: '••••••••',
  masked: 'hidden value',
  empty: 'empty',
  add: 'Add',
  show: 'Show',
  hide: 'Hide',
  edit: 'Edit',
  of: ({ verb, name }: { readonly verb: string; readonly name: string }) => `${verb} ${name}`,
  value: 'Value',
  addTitle: 'Add a variable',
  editTitle: (name: string) => `Change ${name}`,
  remove: {
    title: (name: string) => `Delete ${name}?`,
    text: 'This cannot be undone. Running programs keep the value.',
  },
};
