/** The texts of the templates. */
export const adminTemplateWords = {
  title: 'Templates',
  about: 'Starting points for containers',
  create: 'New template',
  empty: {
    title: 'No templates yet',
    text:
      'A template is an image, or the files of one of your snapshots, with a default size, role, network and ' +
      'start command. Users create containers from it by name.',
    create: 'Create your first template',
  },
  caption: 'Templates, by name',
  columns: {
    source: 'Source',
    defaults: 'Defaults',
    tiers: 'Tiers',
    changed: 'Changed',
  },
  cells: {
    source: 'from',
    defaults: 'defaults',
    tiers: 'tiers',
    changed: 'changed',
  },
  snapshotOf: ({ image, hasData }: { readonly image: string; readonly hasData: boolean }) =>
    hasData ? `a snapshot of ${image}, with data` : `a snapshot of ${image}, without data`,
  allTiers: 'all',
  defaults: {
    none: 'tier defaults',
    disk: (size: string) => `${size} disk`,
    role: (name: string) => `role ${name}`,
    network: (name: string) => `network ${name}`,
    networkByList: 'network by list',
    start: (program: string) => `starts ${program}`,
  },
  replace: 'Replace',
  replaceOne: (name: string) => `Replace ${name}`,
  moreFor: (name: string) => `More for ${name}`,
  deleteQuestion: (name: string) => `Delete template “${name}”?`,
  deleteEffect: 'It can no longer be used for new containers. Existing ones are not affected.',
};
