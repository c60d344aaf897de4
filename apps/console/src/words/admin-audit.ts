import { count, counted } from './format';

/** The texts of the audit. */
export const auditWords = {
  title: 'Audit',
  about: 'Actions of all users, the newest first',
  empty: 'No entry matches',
  filters: {
    action: 'Action',
    container: 'Container',
    containerHint: 'Container: name or id',
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
    action: 'An action is written as container.start; container alone finds all actions on containers.',
    user: (name: string) => `No user has the name “${name}”. For a deleted user, enter the id.`,
    container: (name: string) => `No container matches “${name}”. For a deleted one, enter the database id.`,
    containers: (name: string) => `Several containers match “${name}”. Enter the database id.`,
  },
  export: {
    button: 'Export CSV',
    hint: (most: number) => `The entries that the filters leave, at most ${count(most)}`,
    progress: (done: number) => `Exporting… ${count(done)}`,
    done: (entries: number) => `${counted(entries, 'entry', 'entries')} exported.`,
    cut: (entries: number) =>
      `The newest ${count(entries)} entries were exported, which is the most. Choose a time range for older ones.`,
  },
  caption: 'Audit entries, the newest first',
  columns: {
    action: 'Action',
    outcome: 'Outcome',
    time: 'Time',
    object: 'Object',
    address: 'Address',
  },
  cells: { user: 'user' },
  server: 'the server',
  onlyUser: (name: string) => `Only actions of ${name}`,
  onlyContainer: (id: string) => `Only actions on container ${id}`,
};
