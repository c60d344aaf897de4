/** Uploads and downloads: their list, the names of what is saved, and what went wrong. */
export const transferWords = {
  title: 'Transfers',
  finished: ({ count, total }: { count: number; total: number }) =>
    `${String(count)} of ${String(total)} transfers finished`,
  someFailed: 'Some transfers failed',
  allFinished: 'All transfers finished',
  show: 'Show',
  hide: 'Hide',
  cancelAll: 'Cancel all',
  clear: 'Clear',
  upload: 'Upload',
  download: 'Download',
  uploaded: (size: string) => `Uploaded · ${size}`,
  downloaded: (size: string) => `Downloaded · ${size}`,
  cancelled: 'Cancelled',
  nameTaken: 'A file with this name was created in the meantime.',
  cancel: { button: 'Cancel', label: (name: string) => `Cancel ${name}` },
  retry: { button: 'Retry', label: (name: string) => `Retry ${name}` },
  replace: { button: 'Replace', label: (name: string) => `Replace ${name}` },
  dismiss: (name: string) => `Dismiss ${name}`,
  progress: {
    of: (name: string) => `Progress of ${name}`,
    waiting: 'Waiting',
    finishing: 'Finishing…',
    ofTotal: ({ done, total }: { done: string; total: string }) => `${done} of ${total}`,
    percent: (count: string) => `${count}%`,
    rate: (size: string) => `${size}/s`,
    left: (time: string) => `${time} left`,
  },
  /** Several single files. */
  files: (count: number) => `${String(count)} files`,
  place: ({ container, folder }: { container: string; folder: string }) => `${container}: ${folder}`,
  /** The name of a saved folder that has none of its own. */
  rootFolder: 'root',
  severalFile: ({ folder, count }: { folder: string; count: number }) => `${folder}-${String(count)}-items.tar`,
  faults: {
    of: ({ name, fault }: { name: string; fault: string }) => `“${name}”: ${fault}`,
    fileTooLarge: (limit: string) => `Files can be at most ${limit} here.`,
    archiveTooLarge: (limit: string) => `At most ${limit} can be uploaded at once as a folder or as many files.`,
    brokenOff: 'The connection was lost. The download is incomplete.',
    folderNotComplete: 'The archive is incomplete: some of the folder could not be read.',
    archiveNotComplete: 'The archive is incomplete.',
    unreadable: (path: string) => `The browser cannot read “${path}”. It was not uploaded.`,
    cannotBeDropped: (name: string | undefined) =>
      `This browser cannot read “${name ?? 'it'}”. For a folder, use “Upload folder”.`,
    cannotReplace: (names: string) =>
      `Nothing was uploaded: a file cannot replace a folder, nor a folder a file: ${names}.`,
  },
};
