import { counted } from './format';

/** The command palette. */
export const paletteWords = {
  title: 'Search',
  field: 'Search pages, containers and actions',
  nothing: (query: string) => `No results for “${query}”.`,
  results: 'Results',
  count: (results: number) => counted(results, 'result'),
  /** Keys, and what they do. */
  keys: {
    enter: 'Enter',
    escape: 'Esc',
    choose: 'choose',
    open: 'open',
    close: 'close',
  },
  /** What an entry is. */
  kinds: {
    page: 'Page',
    administration: 'Administration',
    action: 'Action',
    container: 'Container',
    containerIn: (status: string) => `Container, ${status}`,
  },
  newContainer: 'New container',
  newUser: 'New user',
  searchContainers: (text: string) => `Search all containers for “${text}”`,
  searchUsers: (text: string) => `Search users for “${text}”`,
  /** A tab or an action of a container. */
  ofContainer: ({ container, entry }: { container: string; entry: string }) => `${container}: ${entry}`,
  resume: 'Resume',
  pause: 'Pause',
  terminal: 'Terminal',
  files: 'Files',
  processes: 'Processes',
  snapshots: 'Snapshots',
  events: 'Events',
};
