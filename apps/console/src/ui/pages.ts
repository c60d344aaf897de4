/** A page that the menu and the command palette lead to. */
export interface ConsolePage {
  readonly to: string;
  readonly name: string;
  /** The beginning of other addresses that belong to it. */
  readonly also?: string;
  /** With several machines only. */
  readonly isOfCluster?: boolean;
}

export const OWN_PAGES: readonly ConsolePage[] = [
  { to: '/', name: 'Containers', also: '/containers/' },
  { to: '/snapshots', name: 'Snapshots' },
  { to: '/deleted', name: 'Deleted' },
  { to: '/events', name: 'Events' },
  { to: '/usage', name: 'Usage' },
  { to: '/tokens', name: 'Tokens' },
  { to: '/webhooks', name: 'Webhooks' },
  { to: '/agents', name: 'Agents' },
];

/** For administrators. */
export const ADMIN_PAGES: readonly ConsolePage[] = [
  { to: '/admin/users', name: 'Users' },
  { to: '/admin/containers', name: 'All containers' },
  { to: '/admin/snapshots', name: 'All snapshots' },
  { to: '/admin/images', name: 'Images' },
  { to: '/admin/templates', name: 'Templates' },
  { to: '/admin/machine', name: 'Machine' },
  { to: '/admin/nodes', name: 'Nodes', isOfCluster: true },
  { to: '/admin/webhooks', name: 'Webhooks for all' },
  { to: '/admin/audit', name: 'Audit' },
];
