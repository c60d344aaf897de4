import type { JSX } from 'preact';
import { count, counted } from './format';

/** A container by its name, or how many there are of several. */
export interface Those {
  readonly only: string | null;
  readonly count: number;
}

const named = ({ only, count: number }: Those): string => (only === null ? counted(number, 'container') : `“${only}”`);

interface Failure {
  readonly name: string;
  readonly why: string;
}

/** The texts of all users' containers. */
export const adminContainerWords = {
  title: 'All containers',
  about: 'Across all users, newest first',
  search: 'Search by name, user, image or node',
  filter: 'Filter by status',
  statuses: {
    all: 'All',
    running: 'Running',
    paused: 'Paused',
    stopped: 'Stopped',
    error: 'Error',
    deleted: 'Deleted',
  },
  node: 'Node',
  allNodes: 'All nodes',
  onlyUser: (name: string) => `Only ${name}: show all`,
  empty: 'No matching containers',
  caption: 'Containers',
  columns: {
    resources: 'Resources',
    lastUsed: 'Last used',
  },
  cells: { lastUsed: 'last used' },
  owner: ({ user, node }: { readonly user: string; readonly node: string | undefined }) =>
    node === undefined ? `user ${user}` : `user ${user} on ${node}`,
  select: (name: string) => `Select ${name}`,
  moreFor: (name: string) => `More for ${name}`,
  ofUser: 'Containers of this user',
  audit: 'Audit of this container',
  resume: 'Resume',
  resumeOne: (name: string) => `Resume ${name}`,
  selection: {
    label: 'Selection',
    all: 'Select all',
    some: (selected: number) => `${count(selected)} selected`,
    start: (selected: number) => `Start ${count(selected)}`,
    stop: (selected: number) => `Stop ${count(selected)}`,
    move: 'Move…',
    clear: 'Clear',
  },
  start: {
    one: (name: string) => `Start ${name}`,
    done: (those: Those) => `${named(those)} started.`,
    failed: ({ name, why }: Failure) => `“${name}” could not be started: ${why}`,
    moreFailed: (number: number) => `${count(number)} more could not be started.`,
  },
  stop: {
    one: (name: string) => `Stop ${name}`,
    question: (those: Those) => `Stop ${named(those)}?`,
    effect: (those: Those) => `All programs in ${those.only === null ? 'them' : 'it'} end. The data is kept.`,
    done: (those: Those) => `${named(those)} stopped.`,
    failed: ({ name, why }: Failure) => `“${name}” could not be stopped: ${why}`,
    moreFailed: (number: number) => `${count(number)} more could not be stopped.`,
  },
  delete: {
    question: (those: Those) => `Delete ${named(those)}?`,
    effect: (those: Those) =>
      those.only === null
        ? 'All programs in them end. For a while, their users can restore them.'
        : 'All programs in it end. For a while, its user can restore it.',
    done: (those: Those) => `${named(those)} deleted.`,
    failed: ({ name, why }: Failure) => `“${name}” could not be deleted: ${why}`,
    moreFailed: (number: number) => `${count(number)} more could not be deleted.`,
  },
  move: {
    item: 'Move to another node',
    title: (those: Those) => `Move ${named(those)}`,
    action: 'Move',
    effect: (home: JSX.Element) => (
      <>
        The data moves too. Running programs are stopped while it is copied, and the container starts again on the other
        node. Only {home} and installed roles are kept.
      </>
    ),
    target: 'To',
    targetHint: 'Active nodes. A container stays in the node pool of its user’s tier.',
    anyNode: 'Node with the most room',
    node: ({ name, pool, containers }: { readonly name: string; readonly pool: string; readonly containers: number }) =>
      `${name} (pool ${pool}, ${counted(containers, 'container')})`,
    begun: (those: Those) => `${named(those)} ${those.only === null ? 'are' : 'is'} being moved.`,
    isOn: ({ name, node }: { readonly name: string; readonly node: string | undefined }) =>
      `“${name}” is on ${node ?? 'another node'} now.`,
    done: (those: Those) => `${named(those)} moved.`,
    failed: ({ name, why }: Failure) => `“${name}” could not be moved: ${why}`,
    moreFailed: (number: number) => `${count(number)} more could not be moved.`,
  },
};
