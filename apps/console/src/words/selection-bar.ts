import { counted } from './format';

interface Part {
  readonly done: number;
  readonly total: number;
}

/** The texts of what is done with several containers at once. */
export const selectionWords = {
  title: 'Selected containers',
  selected: (count: number) => `${String(count)} selected`,
  hidden: (count: number) => `(${String(count)} hidden by the filter)`,
  clear: 'Clear',
  labels: 'Labels',
  /** A verb of the bar, with how many it is for. */
  verbFor: ({ verb, count }: { readonly verb: string; readonly count: number }) =>
    `${verb} ${counted(count, 'container')}`,
  /** What is under way, and what was done: “3 containers started.” */
  actions: {
    start: { ongoing: 'Starting', done: 'started' },
    stop: { ongoing: 'Stopping', done: 'stopped' },
    restart: { ongoing: 'Restarting', done: 'restarted' },
    delete: { ongoing: 'Deleting', done: 'deleted' },
    restore: { ongoing: 'Restoring', done: 'restored' },
    label: { ongoing: 'Labelling', done: 'labelled' },
  },
  progress: ({ ongoing, done, total }: Part & { readonly ongoing: string }) =>
    `${ongoing}: ${String(done)} of ${String(total)}`,
  progressOf: ({ ongoing, total }: { readonly ongoing: string; readonly total: number }) =>
    `${ongoing} ${counted(total, 'container')}`,
  /** Names of containers, of which the last ones may be left out. */
  names: ({ names, left }: { readonly names: readonly string[]; readonly left: number }) => {
    const quoted = names.map((name) => `“${name}”`).join(', ');
    return left > 0 ? `${quoted} and ${String(left)} more` : quoted;
  },
  remove: {
    question: (count: number) => `Delete ${counted(count, 'container')}?`,
    hint: (names: string) => `${names}. They can be restored for a while.`,
  },
  failures: {
    title: (count: number) => `${counted(count, 'container')} failed:`,
    of: ({ names, reason }: { readonly names: string; readonly reason: string }) => `${names}: ${reason}`,
    select: (count: number) => (count === 1 ? 'Select it' : 'Select these'),
    dismiss: 'Dismiss failures',
  },
  labelling: {
    title: (count: number) => `Labels of ${counted(count, 'container')}`,
    set: 'Labels to set',
    setHint: 'One per line, e.g. team=core',
    remove: 'Labels to remove',
    nothing: 'Enter a label to set, or choose one to remove.',
  },
};
