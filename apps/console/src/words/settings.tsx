import type { JSX } from 'preact';

/** The settings of a container. */
export const settingsWords = {
  title: (name: string) => `Settings of “${name}”`,
  recreated: ({ name, isRootKept }: { name: string; isRootKept: boolean }) =>
    `“${name}” was recreated. ${
      isRootKept
        ? 'The software that was installed outside /home/user is still there.'
        : 'Only /home/user was kept: software that was installed elsewhere is gone.'
    }`,
  recreates: ({ isUp, path }: { isUp: boolean; path: (path: string) => JSX.Element }) => (
    <>
      The container is recreated{isUp && ', and restarted: its programs end'}. {path('/home/user')} stays, and so does
      software that was installed elsewhere, if this server can keep it: you will be told.
    </>
  ),
  more: 'Network, variables, start command',
  variables: {
    title: 'New environment variables',
    hint: 'Others stay, and are listed in the overview. Running programs keep theirs. Pasted .env text fills several rows.',
  },
};
