interface Copied {
  readonly name: string;
  readonly from: string;
}

interface Restored {
  readonly container: string;
  readonly snapshot: string;
}

/** The texts of the dialogs that take, edit and restore snapshots, and of the one that copies a container. */
export const snapshotDialogsWords = {
  descriptionExample: 'Node.js 24 and the project',
  suspended: 'The container is suspended while its files are read.',
  take: {
    item: 'New snapshot',
    title: (container: string) => `New snapshot of “${container}”`,
    action: 'Take snapshot',
    nameHint: 'Letters, digits and hyphens. Generated if empty.',
    hint: () => (
      <>
        A snapshot contains <code>/home/user</code> and, if this server supports it, software installed elsewhere. It
        does not include memory or running programs.
      </>
    ),
  },
  edit: {
    title: (name: string) => `Edit snapshot “${name}”`,
    nameHint: 'Letters, digits and hyphens',
  },
  fork: {
    action: 'Fork',
    title: (container: string) => `Fork “${container}”`,
    hint:
      'A copy starts with the container’s files, settings, labels and variables, and shares nothing with it ' +
      'afterwards. Memory and running programs are not copied.',
    nameHint: 'Generated if empty. Several copies get -1, -2 and so on.',
    copies: 'Copies',
    copiesHint: (most: number) => `1 to ${String(most)}`,
    begun: ({ name, from }: Copied) => `“${name}” is being created from “${from}”.`,
    severalBegun: ({ count, from }: { readonly count: number; readonly from: string }) =>
      `${String(count)} copies are being created from “${from}”.`,
    show: 'Show',
  },
  restore: {
    action: 'Restore',
    question: ({ container, snapshot }: Restored) => `Restore “${container}” to “${snapshot}”?`,
    hint: 'The container is recreated with the snapshot’s files. Its ID, name and settings stay.',
    programsEnd: 'Its programs end, and it starts again.',
    dataOnly: () => (
      <>
        This snapshot contains only <code>/home/user</code>. All other files come from the image.
      </>
    ),
    keep: 'Keep the current state as a snapshot (counts towards your limits)',
    lost: 'The container’s current files will be permanently deleted.',
    done: ({ container, snapshot }: Restored) => `“${container}” was restored to “${snapshot}”.`,
    kept: 'Its previous state is now a snapshot.',
  },
};
