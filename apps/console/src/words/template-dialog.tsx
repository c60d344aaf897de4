/** The texts of the dialog that creates or replaces a template. */
export const templateDialogWords = {
  title: 'New template',
  replaceTitle: (name: string) => `Replace template “${name}”`,
  replace: 'Replace',
  replaceHint: 'Containers that were created from it keep what they have.',
  saved: ({ name, message }: { readonly name: string; readonly message: string }) => `“${name}”: ${message}.`,
  nameHint: 'a-z, 0-9, “.”, “_” and “-”. Creations name it as their image.',
  version: 'Version',
  versionHint: 'Containers show it: 2026-11',
  descriptionExample: 'Node.js and the tools',
  sizesUnset: 'As the tier says',
  source: {
    title: 'Created from',
    snapshotHint: ({ contents, size }: { readonly contents: string; readonly size: string }) =>
      `${contents}, ${size}. Its files are copied.`,
    images: 'Images',
    anotherImage: 'Another image…',
    snapshots: 'Your snapshots',
    present: 'The files that it has now',
  },
  reference: {
    title: 'Image reference',
    hint: 'An image on this machine, as docker build -t my-tools:1 makes it. It is never pulled.',
  },
  withData: () => (
    <>
      Containers begin with the data of the snapshot in <code>/home/user</code>; none are started in advance then
    </>
  ),
  tiers: 'Tiers that may use it',
  more: 'Role, network, start command',
  role: {
    title: 'Role',
    asInSnapshot: 'As in the snapshot',
    none: 'None',
  },
};
