/** The texts of the user's agents. */
export const agentWords = {
  title: 'Agents',
  about: 'Machines of your own',
  create: 'New agent',
  empty: {
    title: 'No agents',
    text: 'An agent makes a machine of your own appear beside your containers, with its load and memory.',
  },
  caption: 'Your agents',
  columns: {
    system: 'System',
    load: 'Load',
    memory: 'Memory',
    seen: 'Seen',
  },
  cells: {
    load: 'load',
    memory: 'memory',
  },
  memoryUsed: ({ used, total }: { readonly used: string; readonly total: string }) => `${used} of ${total}`,
  up: (time: string) => `up ${time}`,
  nameHint: 'Letters, digits and “-”.',
  created: {
    title: (name: string) => `Agent “${name}”`,
    text: 'Run this on the machine, in a checkout of Berth. The token is shown this once.',
    command: 'The command',
    done: 'Done',
  },
  deleteQuestion: (name: string) => `Delete “${name}”?`,
  deleteEffect: 'It is disconnected, and its token no longer works.',
};
