interface Amounts {
  readonly used: string;
  readonly limit: string;
}

/** The texts of what a container's user has to know, and of what to do about it. */
export const problemWords = {
  unreachable: 'The machine of this container does not respond. The status is the last known one.',
  failed: (reason: string | null) =>
    reason === null
      ? 'The container could not be created or started.'
      : `The container could not be created or started: ${reason}.`,
  /** Stops without a request, by their reason. */
  ended: {
    oom: 'The container was stopped because it needed more memory than its limit.',
    exited: 'The container stopped because its main process ended.',
    missing: 'The container is missing from Docker. A start recreates it with its data.',
    node_lost: 'The node of this container was removed, and the container’s data is lost.',
  },
  roleFailed: (role: string) => `The role “${role}” could not be installed. The next start tries again.`,
  notReadyWithin: (time: string) => `The start command was not ready within ${time}.`,
  notReadyYet: 'The start command is not ready yet.',
  memoryNearlyFull: ({ used, limit }: Amounts) =>
    `Memory is nearly full: ${used} of ${limit}. At the limit, programs are ended.`,
  diskFull: ({ used, limit }: Amounts) => `/home/user is full: ${used} of ${limit}.`,
  diskNearlyFull: ({ used, limit }: Amounts) => `/home/user is nearly full: ${used} of ${limit}.`,
  diskNotEnforced: 'This server does not enforce the limit.',
  runEnds: ({ time, at }: { readonly time: string; readonly at: string }) =>
    `The container is stopped in ${time}, at ${at}: its run time ends then.`,
  idleStop: (time: string) => `The container is stopped in ${time} because it is not used.`,
  idlePause: (time: string) => `The container is paused in ${time} because it is not used.`,
  deletion: (time: string) => `The container will be deleted in ${time} because it is not used.`,
  remedies: {
    saveFiles: 'Save files',
    showOutput: 'Show its output',
  },
};
