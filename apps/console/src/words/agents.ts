/** The texts of the user's agents. */
export const agentWords = {
  title: 'Agents',
  about: 'Your own machines',
  create: 'New agent',
  empty: {
    title: 'No agents yet',
    text: 'Run an agent on your own machine to see its load and memory next to your containers.',
  },
  caption: 'Your agents',
  columns: {
    system: 'System',
    load: 'Load',
    memory: 'Memory',
    seen: 'Last seen',
  },
  cells: {
    load: 'load',
    memory: 'memory',
  },
  memoryUsed: ({ used, total }: { readonly used: string; readonly total: string }) => `${used} of ${total}`,
  up: (time: string) => `up ${time}`,
  nameHint: 'Letters, digits and hyphens',
  created: {
    title: (name: string) => `Agent “${name}”`,
    text: 'Run this on the machine, in a checkout of Berth. The token is shown only once.',
    command: 'Command',
    done: 'Done',
  },
  deleteQuestion: (name: string) => `Delete “${name}”?`,
  deleteEffect: 'It disconnects, and its token stops working.',
};
