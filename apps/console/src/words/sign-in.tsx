import type { JSX } from 'preact';

/** The sign-in page. */
export const signInWords = {
  title: 'Sign in',
  signingIn: 'Signing in…',
  through: (provider: string) => `Continue with ${provider}`,
  token: {
    title: 'Token',
    hint: 'Paste an access token, or ask your administrator for a sign-in link.',
    empty: 'Paste a token first.',
  },
  stay: 'Stay signed in on this browser',
  guest: {
    title: 'Or try it as a guest',
    action: 'Continue as guest',
    hint: '2–30 letters, digits, _ or -',
    placeholder: 'Your name',
  },
  api: (linkTo: (path: string) => JSX.Element) => <>API reference: {linkTo('/api/docs')}</>,
};
