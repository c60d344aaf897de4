import { commonWords } from './common';

/** The texts of a container's ports, and of the links to them. */
export const portsWords = {
  title: 'Ports',
  caption: 'Ports on which programs listen',
  columns: { port: 'Port', listensOn: 'Listens on', access: 'Access' },
  /** The names of some of these columns in a card, before their values. */
  cells: { listensOn: 'listens on', access: 'access' },
  none: {
    title: 'No listening ports',
    hint: 'Servers you start in the container appear here, with their address.',
  },
  access: {
    everyone: 'Public · everyone',
    own: 'Private · you and link holders',
    makePrivate: 'Make private',
    makePublic: 'Make public',
    isPrivate: (port: number) => `Port ${String(port)} is now private.`,
    isPublic: (port: number) => `Port ${String(port)} is now public.`,
    publicQuestion: (port: number) => `Make port ${String(port)} public?`,
    publicHint: 'Anyone with the address can then use this port without signing in.',
  },
  previewsOff: 'Previews are off',
  open: 'Open',
  openPort: (port: number) => `Open port ${String(port)}`,
  openBlocked: 'The browser blocked the new tab. Allow pop-ups for this page and try again.',
  more: (port: number) => `More for port ${String(port)}`,
  link: {
    title: (port: number) => `Link to port ${String(port)}`,
    start: 'New link',
    create: 'Create link',
    nameHint: 'To recognise it by',
    validFor: 'Valid for',
    lifetimes: { hour: 'An hour', day: 'A day', week: 'A week', month: '30 days' },
    mayStart: 'Visitors can start the container',
    secret: 'Link',
    secretHint: 'Anyone with this link can use the port until it expires. The link is shown only once.',
    done: 'Done',
  },
  links: {
    title: (port: number) => `Links to port ${String(port)}`,
    name: 'Links',
    none: 'No links.',
    columns: { name: commonWords.name, use: 'Use', expires: 'Expires' },
    unnamed: 'unnamed',
    once: 'once',
    onceUsed: 'once, used',
    unlimited: 'unlimited',
    revoke: 'Revoke',
    revokeOne: (name: string) => `Revoke ${name}`,
    done: 'Done',
  },
};
