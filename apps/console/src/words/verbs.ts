import { counted } from './format';

/** What is asked and said about containers that are stopped, restarted or deleted, one or several. */
export const verbWords = {
  deleted: (name: string) => `“${name}” was deleted.`,
  stop: {
    title: (name: string) => `Stop “${name}”?`,
    text: 'All programs in it end. Its data is kept.',
  },
  restart: {
    title: (name: string) => `Restart “${name}”?`,
    text: 'All programs in it end, and it starts again. Its data is kept.',
    ongoing: 'Restarting…',
    startFailed: (reason: string) => `The container was stopped, but could not be started again. ${reason}`,
  },
  /** `3 of 4 containers stopped.` */
  summary: ({ count, total, done }: { count: number; total: number; done: string }) => {
    const all = counted(total, 'container');
    return `${count === total ? all : `${String(count)} of ${all}`} ${done}.`;
  },
};
