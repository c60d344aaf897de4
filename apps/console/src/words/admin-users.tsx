import type { JSX } from 'preact';
import { count, counted } from './format';

/** The texts of the users. */
export const adminUserWords = {
  title: 'Users',
  about: 'All users of this server, newest first',
  create: 'New user',
  search: 'Search by name',
  tier: 'Tier',
  allTiers: 'All tiers',
  empty: 'No matching users',
  caption: 'Users',
  cells: { created: 'created' },
  own: 'you',
  tierOf: (name: string) => `Tier of ${name}`,
  status: {
    active: 'Active',
    suspended: 'Suspended',
    guest: (sessionEnd: JSX.Element) => <>Guest, session ends {sessionEnd}</>,
  },
  moreFor: (name: string) => `More for ${name}`,
  containers: 'Containers',
  snapshots: 'Snapshots',
  audit: 'Audit',
  changeTier: {
    action: 'Change tier',
    question: (name: string) => `Change the tier of “${name}”?`,
    fromTo: ({ from, to }: { readonly from: string; readonly to: string }) => `From “${from}” to “${to}”.`,
    limits: 'Its limits apply immediately. Containers keep their sizes.',
    tooMany: ({ has, tier, allowed }: { readonly has: number; readonly tier: string; readonly allowed: number }) =>
      `The user has ${counted(has, 'container')}, and “${tier}” allows ${count(allowed)}. ` +
      'Existing ones stay, but no more can be created until some are deleted.',
    guest: (session: string) =>
      `The user becomes a guest: their session ends in ${session}, and their containers with it.`,
    willStop: ({ running, session }: { readonly running: number; readonly session: string }) =>
      `${counted(running, 'running container')} will be stopped ${session} after the last start.`,
    done: ({ name, tier }: { readonly name: string; readonly tier: string }) =>
      `“${name}” is now on the tier “${tier}”.`,
    undone: ({ name, tier }: { readonly name: string; readonly tier: string }) =>
      `“${name}” is back on the tier “${tier}”.`,
  },
  suspend: {
    action: 'Suspend',
    question: (name: string) => `Suspend “${name}”?`,
    noneRuns: 'They have no running containers.',
    willStop: (running: number) => `${counted(running, 'running container')} will be stopped; the data is kept.`,
    effect: 'Their tokens are rejected and their connections closed until the suspension is lifted.',
    done: (name: string) => `“${name}” is suspended.`,
    lift: 'Lift suspension',
    lifted: (name: string) => `“${name}” can sign in again. Containers that were stopped stay stopped.`,
  },
  revoke: {
    item: 'Revoke all tokens',
    action: 'Revoke',
    question: (name: string) => `Revoke all tokens of “${name}”?`,
    effect: 'The user is signed out everywhere. Their programs and agents lose access.',
    done: ({ name, tokens }: { readonly name: string; readonly tokens: number }) =>
      `${counted(tokens, 'token')} of “${name}” revoked.`,
  },
  delete: {
    question: (name: string) => `Delete “${name}”?`,
    effect: (containers: number) =>
      (containers === 0
        ? 'Their agents and tokens are deleted with all data. '
        : `Their ${counted(containers, 'container')}, agents and tokens are deleted with all data. `) +
      'This cannot be undone.',
    done: (name: string) => `“${name}” was deleted.`,
  },
};
