import { count, counted } from './format';

/** The texts of the audit. */
export const auditWords = {
  title: 'Audit',
  about: 'Actions by all users, newest first',
  empty: 'No matching entries',
  filters: {
    action: 'Action',
    container: 'Container',
    containerHint: 'Container name or ID',
    outcome: 'Outcome',
    from: 'From',
    until: 'Until',
    clear: 'Clear filters',
  },
  outcomes: {
    all: 'All outcomes',
    ok: 'Done',
    failed: 'Failed or refused',
    pending: 'In progress',
  },
  faults: {
    action: 'Enter an action, e.g. container.start, or only container for all actions on containers.',
    user: (name: string) => `There is no user “${name}”. For a deleted user, enter the ID.`,
    container: (name: string) => `No container matches “${name}”. For a deleted one, enter the database ID.`,
    containers: (name: string) => `Several containers match “${name}”. Enter the database ID.`,
  },
  export: {
    button: 'Export CSV',
    hint: (most: number) => `Entries that match the filters, up to ${count(most)}`,
    progress: (done: number) => `Exporting… ${count(done)}`,
    done: (entries: number) => `${counted(entries, 'entry', 'entries')} exported.`,
    cut: (entries: number) =>
      `The newest ${count(entries)} entries were exported, the maximum. Choose a time range for older ones.`,
  },
  caption: 'Audit entries, newest first',
  columns: {
    action: 'Action',
    outcome: 'Outcome',
    time: 'Time',
    object: 'Object',
    address: 'Address',
  },
  cells: { user: 'user' },
  server: 'the server',
  onlyUser: (name: string) => `Only actions by ${name}`,
  onlyContainer: (id: string) => `Only actions on container ${id}`,
};
