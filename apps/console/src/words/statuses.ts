/** The statuses of containers and agents. */
export const statusWords = {
  names: {
    creating: 'Creating',
    running: 'Running',
    paused: 'Paused',
    stopped: 'Stopped',
    error: 'Error',
    deleted: 'Deleted',
    online: 'Online',
    offline: 'Offline',
  },
  /** Behind another word. */
  within: {
    creating: 'creating',
    running: 'running',
    paused: 'paused',
    stopped: 'stopped',
    error: 'error',
  },
  /** Of a filter: no status in particular. */
  all: 'All',
};
