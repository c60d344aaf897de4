import type { JSX } from 'preact';

/** The settings of a container. */
export const settingsWords = {
  title: (name: string) => `Settings of “${name}”`,
  recreated: ({ name, isRootKept }: { name: string; isRootKept: boolean }) =>
    `“${name}” was recreated. ${
      isRootKept
        ? 'Software installed outside /home/user is still there.'
        : 'Only /home/user was kept. Software installed elsewhere is gone.'
    }`,
  recreates: ({ isUp, path }: { isUp: boolean; path: (path: string) => JSX.Element }) => (
    <>
      The container is recreated{isUp && ' and restarted, which ends its programs'}. {path('/home/user')} is kept, and
      so is software installed elsewhere if this server supports it.
    </>
  ),
  more: 'Network, variables, start command',
  variables: {
    title: 'New environment variables',
    hint: 'Existing variables stay; see the overview. Running programs keep their values. Paste a .env file to add several.',
  },
};
