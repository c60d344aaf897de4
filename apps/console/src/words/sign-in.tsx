import type { JSX } from 'preact';

/** The sign-in page. */
export const signInWords = {
  title: 'Sign in',
  signingIn: 'Signing in…',
  token: {
    title: 'Token',
    hint: '`npm start` prints one, and a link that signs you in by itself.',
    empty: 'Paste a token first.',
  },
  stay: 'Stay signed in in this browser',
  guest: {
    title: 'Or look around as a guest, for a while',
    action: 'Enter as guest',
    hint: '2 to 30 of letters, digits, “_” and “-”.',
    placeholder: 'Your name',
  },
  api: (linkTo: (path: string) => JSX.Element) => <>The API is described at {linkTo('/api/docs')}.</>,
};
