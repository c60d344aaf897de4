import { counted } from './format';

/** The texts of the output of programs. */
export const logWords = {
  title: 'Logs',
  source: 'Program',
  of: (program: string) => `Output of ${program}`,
  /** A program that may be chosen: with its start, as the same one may have run before. */
  option: ({ program, started }: { readonly program: string; readonly started: string }) => `${program} · ${started}`,
  startCommand: 'Start command',
  search: 'Search lines',
  found: (lines: number) => counted(lines, 'line'),
  follow: 'Follow',
  download: 'Download',
  isCut: 'Earlier output is no longer kept.',
  none: 'No output.',
  noneYet: 'No output yet.',
  noneFound: 'No matching lines.',
  empty: {
    title: 'No logs yet',
    hint: 'The output of the start command and of processes appears here, with its times. The last 1 MB of each is kept.',
    toProcesses: 'Start a process',
  },
};
