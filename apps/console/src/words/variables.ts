/** The environment variables of a container. */
export const variableWords = {
  title: 'Environment variables',
  none: 'None.',
  hint: 'Programs that start from now on get them; running programs keep theirs.',
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
    text: 'The value cannot be brought back. Running programs keep it.',
  },
};
