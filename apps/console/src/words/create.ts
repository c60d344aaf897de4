/** The form of a new container. */
export const createWords = {
  title: 'New container',
  nameHint: 'Letters, digits and hyphens',
  suggest: 'Suggest another',
  /** What suggested names are made of, such as `quiet-harbor-42`: letters from a to z alone. */
  suggestions: {
    qualities: 'amber brisk calm clear deep early fair fresh keen lucid mild north quick quiet still swift'.split(' '),
    things: 'anchor bay beacon buoy cove current dock harbor island keel mast pier quay reef tide wave'.split(' '),
  },
  source: {
    title: 'Start from',
    search: 'Search',
    searchLabel: 'Search images, templates and snapshots',
    images: 'Images',
    templates: 'Templates',
    snapshots: 'Snapshots',
    more: (count: number) => `${String(count)} more. Search to find them.`,
    nothing: 'No results.',
    default: 'default',
    custom: 'Another image',
    customText: 'Any image this server can pull',
    reference: 'Image reference',
    referenceHint: 'e.g. python:3.13-slim',
    version: (version: string) => `version ${version}`,
    withData: 'with data in /home/user',
    downloadedFirst: 'Pulled on first use',
    contentsOf: ({ contents, container }: { contents: string; container: string }) => `${contents} of “${container}”`,
  },
  asInTemplate: 'As in the template',
  size: {
    title: 'Size',
    template: 'Template and tier defaults',
    custom: 'Custom',
    customText: 'Choose CPU, memory and disk',
    amounts: ({ cpus, memory, disk }: { cpus: string; memory: string; disk: string }) =>
      `${cpus} · ${memory} · ${disk} disk`,
    names: {
      nano: 'Nano',
      micro: 'Micro',
      small: 'Small',
      medium: 'Medium',
      large: 'Large',
      'x-large': 'X-Large',
      '2x-large': '2X-Large',
      '4x-large': '4X-Large',
      standard: 'Standard',
      largest: 'Largest',
    },
  },
  variables: {
    title: 'Environment variables',
    hint: 'Stored encrypted. Paste a .env file to add several at once. Press Shift+Enter for a new line in a value.',
  },
  more: 'More: labels, variables, role, network, lifetime, start command',
  role: {
    title: 'Role',
    hint: 'Software to install after the start',
    none: 'none',
    asInSnapshot: (role: string) => `As in the snapshot: ${role}`,
    asInTemplate: (role: string) => `As in the template: ${role}`,
  },
  /** Why no container can be created now. */
  blockers: {
    noScope: 'Your token does not have the “write” scope.',
    sessionEnded: 'Your guest session has ended. You can still view, stop and delete your containers.',
    limitReached: ({ tier, limit, count }: { tier: string; limit: number; count: number }) =>
      `Your tier “${tier}” allows ${String(limit)} containers, and you have ${String(count)}. Delete one to make room.`,
  },
  link: {
    copy: 'Copy link',
    copied: 'Link copied.',
    copiedWithoutValues: 'Link copied without variable values.',
    title: 'Link',
    hint: 'The browser blocked copying. Copy the link from here.',
  },
  limits: {
    title: 'Your limits',
    legend: (tier: string) => `Tier ${tier}, now → with this container`,
    containers: 'Containers',
    most: (amount: string) => `of ${amount}`,
    meter: (name: string) => `${name} with this container`,
  },
};
