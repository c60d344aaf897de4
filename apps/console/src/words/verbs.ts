import { counted } from './format';

/** What is asked and said about containers that are stopped, restarted or deleted, one or several. */
export const verbWords = {
  deleted: (name: string) => `“${name}” was deleted.`,
  stop: {
    title: (name: string) => `Stop “${name}”?`,
    text: 'All that runs in it ends. Its data stays, and it can be started again.',
  },
  restart: {
    title: (name: string) => `Restart “${name}”?`,
    text: 'All programs in it end, and it is started again. Its data stays.',
  },
  /** `3 of 4 containers stopped.` */
  summary: ({ count, total, done }: { count: number; total: number; done: string }) => {
    const all = counted(total, 'container');
    return `${count === total ? all : `${String(count)} of ${all}`} ${done}.`;
  },
};
