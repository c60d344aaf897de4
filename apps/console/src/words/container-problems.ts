interface Amounts {
  readonly used: string;
  readonly limit: string;
}

/** The texts of what a container's user has to know, and of what to do about it. */
export const problemWords = {
  unreachable: 'This container’s machine is not responding. The status is the last known one.',
  failed: (reason: string | null) =>
    reason === null
      ? 'The container could not be created or started.'
      : `The container could not be created or started: ${reason}.`,
  /** Stops without a request, by their reason. */
  ended: {
    oom: 'The container ran out of memory and was stopped.',
    exited: 'The container stopped because its main process exited.',
    missing: 'The container is missing from Docker. Start it to recreate it with its data.',
    node_lost: 'This container’s node was removed, and its data is lost.',
  },
  roleFailed: (role: string) => `Role “${role}” could not be installed. The next start tries again.`,
  notReadyWithin: (time: string) => `The start command was not ready within ${time}.`,
  notReadyYet: 'The start command is not ready yet.',
  memoryNearlyFull: ({ used, limit }: Amounts) =>
    `Memory is almost full: ${used} of ${limit}. Programs are killed at the limit.`,
  diskFull: ({ used, limit }: Amounts) => `/home/user is full: ${used} of ${limit}.`,
  diskNearlyFull: ({ used, limit }: Amounts) => `/home/user is almost full: ${used} of ${limit}.`,
  diskNotEnforced: 'This server does not enforce the limit.',
  runEnds: ({ time, at }: { readonly time: string; readonly at: string }) =>
    `Stops in ${time}, at ${at}, when its run time ends.`,
  idleStop: (time: string) => `Stops in ${time} because it is idle.`,
  idlePause: (time: string) => `Pauses in ${time} because it is idle.`,
  deletion: (time: string) => `Will be deleted in ${time} because it is idle.`,
  remedies: {
    saveFiles: 'Save files',
    showOutput: 'Show output',
  },
};
