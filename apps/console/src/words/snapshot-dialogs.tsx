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
    item: 'Take a snapshot',
    title: (container: string) => `New snapshot of “${container}”`,
    action: 'Take the snapshot',
    nameHint: 'Letters, digits and “-”. Generated if empty.',
    hint: () => (
      <>
        A snapshot contains the files of <code>/home/user</code> and, if this server can keep it, the software that was
        installed elsewhere. It contains no memory and no running programs.
      </>
    ),
  },
  edit: {
    title: (name: string) => `Edit snapshot “${name}”`,
    nameHint: 'Letters, digits and “-”',
  },
  fork: {
    action: 'Fork',
    title: (container: string) => `Fork “${container}”`,
    hint:
      'A copy begins with the files, settings, labels and variables of the container, and shares nothing with it ' +
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
    hint: 'The container is recreated with the files of the snapshot; its id, name and settings stay.',
    programsEnd: 'Its programs end, and it is started again.',
    dataOnly: () => (
      <>
        This snapshot contains <code>/home/user</code> only: all other files will be those of the image.
      </>
    ),
    keep: 'Keep the present state as a snapshot, which counts towards your limits',
    lost: 'The present files of the container will be deleted for good.',
    done: ({ container, snapshot }: Restored) => `“${container}” has the files of “${snapshot}”.`,
    kept: 'Its state before is a snapshot now.',
  },
};
