/** The texts of the dialog that creates a user, and of the one that shows the new user's token. */
export const newUserWords = {
  title: 'New user',
  nameHint: 'Letters, digits, . _ @ -',
  tier: 'Tier',
  tierHint: 'Sets the user’s limits',
  expiryHint: 'With the admin scope, it expires no later than your own token.',
  created: {
    title: (name: string) => `User “${name}” created`,
    tokenOnly: 'The token is shown only once.',
    linkAndToken: 'The link and the token are shown only once.',
    link: 'Sign-in link',
    linkUse: 'Sign-in link: single use, valid for one hour',
    token: 'Token',
    tokenUse: 'Token for the CLI and API',
    tokenUseUntil: (expiry: string) => `Token for the CLI and API, expires on ${expiry}`,
    done: 'Done',
  },
};
