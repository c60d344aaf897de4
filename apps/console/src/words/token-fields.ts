/** The fields of a new token. */
export const tokenFieldWords = {
  scopes: {
    title: 'Scopes',
    read: 'see containers, events and usage',
    write: 'create, change and delete containers, and sign in here',
    exec: 'run commands, terminals and file transfers in containers',
    admin: 'administer this server: all containers and users',
  },
  expiry: {
    title: 'Expires',
    inDays: {
      1: 'in a day',
      7: 'in a week',
      30: 'in 30 days',
      90: 'in 90 days',
      365: 'in a year',
    },
    latest: 'as late as possible',
  },
};
