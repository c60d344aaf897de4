/** The texts of the dialog that creates or replaces a template. */
export const templateDialogWords = {
  title: 'New template',
  replaceTitle: (name: string) => `Replace template “${name}”`,
  replace: 'Replace',
  replaceHint: 'Containers created from it are not affected.',
  saved: ({ name, message }: { readonly name: string; readonly message: string }) => `“${name}”: ${message}.`,
  nameHint: 'a-z, 0-9 or . _ - Used as the image name.',
  version: 'Version',
  versionHint: 'Shown on containers, e.g. 2026-11',
  descriptionExample: 'Node.js and the tools',
  sizesUnset: 'Tier default',
  source: {
    title: 'Created from',
    snapshotHint: ({ contents, size }: { readonly contents: string; readonly size: string }) =>
      `${contents}, ${size}. Its files are copied.`,
    images: 'Images',
    anotherImage: 'Another image…',
    snapshots: 'Your snapshots',
    present: 'Current files',
  },
  reference: {
    title: 'Image reference',
    hint: 'An image on this machine, e.g. from docker build -t my-tools:1. Never pulled.',
  },
  withData: () => (
    <>
      Start with the snapshot’s data in <code>/home/user</code> (without warm slots)
    </>
  ),
  tiers: 'Available to tiers',
  more: 'Role, network, start command',
  role: {
    title: 'Role',
    asInSnapshot: 'As in the snapshot',
    none: 'None',
  },
};
