import { shellWords } from '../words/shell';

/** A page that the menu and the command palette lead to. */
export interface ConsolePage {
  readonly to: string;
  readonly name: string;
  /** The beginning of other addresses that belong to it. */
  readonly also?: string;
  /** With several machines only. */
  readonly isOfCluster?: boolean;
}

const { pages: NAMES } = shellWords;

export const OWN_PAGES: readonly ConsolePage[] = [
  { to: '/', name: NAMES.containers, also: '/containers/' },
  { to: '/snapshots', name: NAMES.snapshots },
  { to: '/deleted', name: NAMES.deleted },
  { to: '/events', name: NAMES.events },
  { to: '/usage', name: NAMES.usage },
  { to: '/tokens', name: NAMES.tokens },
  { to: '/webhooks', name: NAMES.webhooks },
  { to: '/agents', name: NAMES.agents },
];

/** For administrators. */
export const ADMIN_PAGES: readonly ConsolePage[] = [
  { to: '/admin/users', name: NAMES.users },
  { to: '/admin/containers', name: NAMES.allContainers },
  { to: '/admin/snapshots', name: NAMES.allSnapshots },
  { to: '/admin/images', name: NAMES.images },
  { to: '/admin/templates', name: NAMES.templates },
  { to: '/admin/machine', name: NAMES.machine },
  { to: '/admin/nodes', name: NAMES.nodes, isOfCluster: true },
  { to: '/admin/webhooks', name: NAMES.allWebhooks },
  { to: '/admin/audit', name: NAMES.audit },
];
