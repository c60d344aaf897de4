import { count, counted } from './format';

/** `“a.txt”`, or `2 items`. */
const these = (names: readonly string[]): string =>
  names.length === 1 ? `“${names[0] ?? ''}”` : counted(names.length, 'item');

/** The files of a container: folders, what is done with entries, and how a file is shown and edited. */
export const fileWords = {
  filesIn: (folder: string) => `Files in ${folder}`,
  folder: 'Folder',
  loading: 'Loading…',
  download: 'Download',
  editAsText: 'Edit as text',

  folderActions: {
    newFolder: 'New folder',
    newFile: 'New file',
    upload: 'Upload',
    uploadLabel: 'Files to upload',
    uploadFolder: 'Upload folder',
    uploadFolderLabel: 'Folder to upload',
    downloadFolder: 'Download folder',
    exists: (name: string) => `“${name}” already exists.`,
  },
  empty: { title: 'This folder is empty', text: 'Drop files and folders here, or upload them.' },
  drafts: { notSaved: 'Not saved:', open: (name: string) => `Open ${name}` },

  overwrite: {
    checking: 'Checking for existing files…',
    /** @param files how many are known to exist; none if only folders do */
    title: (files: number) =>
      files === 0
        ? 'Some folders already exist'
        : files === 1
          ? 'A file already exists'
          : `${count(files)} files already exist`,
    listLabel: 'Existing files',
    andMore: (files: number) => `and ${count(files)} more`,
    notAllChecked: 'Some folders could not be checked. Existing files in them will be replaced.',
    nothingSent: 'Nothing has been uploaded yet.',
    skip: 'Skip',
    replace: 'Replace',
  },

  table: {
    caption: 'Folders first. Arrow keys move between rows, Shift extends the selection, Ctrl+A selects all.',
    columns: { size: 'Size', changed: 'Modified', mode: 'Mode', actions: 'Actions' },
    showMore: (left: number) => `Show more (${count(left)} left)`,
    onlyFirst: (entries: number) => `Only the first ${count(entries)} entries by name are listed.`,
    sortBy: 'Sort by',
    orders: {
      byName: 'Name, A to Z',
      byNameDescending: 'Name, Z to A',
      largest: 'Largest first',
      smallest: 'Smallest first',
      newest: 'Newest first',
      oldest: 'Oldest first',
    },
    selectAll: 'Select all',
    items: (items: number) => counted(items, 'item'),
    selected: (items: number) => `${count(items)} selected`,
    selectedLabel: 'Selected',
    select: (name: string) => `Select ${name}`,
    notNameable: 'This name is not valid text, so the file cannot be opened here.',
    more: (name: string) => `More for ${name}`,
    downloadAsTar: 'Download as tar',
    someFailed: ({ failed, of, name, why }: { failed: number; of: number; name: string; why: string }) =>
      `${count(failed)} of ${count(of)} failed. “${name}”: ${why}`,
  },
  rename: { title: (name: string) => `Rename “${name}”`, action: 'Rename' },
  move: {
    title: (names: readonly string[]) => `Move ${these(names)}`,
    target: 'Destination folder',
    action: 'Move',
    isThere: 'It is already in this folder. Enter another one.',
    done: ({ names, target }: { names: readonly string[]; target: string }) =>
      `${these(names)} ${names.length === 1 ? 'was' : 'were'} moved to ${target}.`,
  },
  remove: {
    title: (names: readonly string[]) => `Delete ${these(names)}?`,
    ofFile: 'The file will be deleted. This cannot be undone.',
    ofFolder: 'The folder will be deleted with everything in it. This cannot be undone.',
    /** @param names as a list in one text */
    ofFiles: (names: string) => `${names} will be deleted. This cannot be undone.`,
    ofFilesAndFolders: (names: string) =>
      `${names} will be deleted, folders with everything in them. This cannot be undone.`,
  },

  viewer: {
    label: (name: string) => `Preview of ${name}`,
    noPdfs: 'This browser cannot show PDFs. Download the file to open it.',
    tooLarge: (most: string) => `This file is larger than ${most}, so it is not shown here. Download it to open it.`,
    cannotShow: 'The browser cannot show this image: it may be damaged or of another format.',
    cannotRead: 'The file could not be read.',
  },
  editor: {
    label: (name: string) => `Editing ${name}`,
    contentLabel: (name: string) => `Content of ${name}`,
    notSaved: 'not saved',
    saved: (name: string) => `${name} was saved.`,
    draftKept: (name: string) =>
      `“${name}” has unsaved changes. They are kept on the Files page until you close this tab.`,
    tooLarge: 'This file is too large to edit here. Download it to open it.',
    notText: 'This file is not text. Download it to open it.',
    overwrite: 'Overwrite',
    reloadHint: 'Reload to see the current file. Undo brings your text back.',
    leave: {
      title: 'Leave without saving?',
      text: (name: string) => `Your changes to “${name}” will be lost.`,
      action: 'Leave',
    },
    /** What happened to a file while it was edited. */
    meanwhile: {
      changed: {
        title: (name: string) => `“${name}” was changed in the meantime`,
        text: 'It was changed by another program after you opened it. Your changes are not saved.',
      },
      deleted: {
        title: (name: string) => `“${name}” was deleted in the meantime`,
        text: 'It was deleted or moved after you opened it. Your changes are not saved.',
      },
      created: {
        title: (name: string) => `“${name}” was created in the meantime`,
        text: 'A file with this name was created in the meantime. Yours is not saved.',
      },
    },
  },
};
