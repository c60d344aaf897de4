/** The texts of the dialog that creates a user, and of the one that shows the new user's token. */
export const newUserWords = {
  title: 'New user',
  nameHint: 'Letters, digits, “.”, “_”, “@” and “-”',
  tier: 'Tier',
  tierHint: 'What the user may have at most',
  expiryHint: 'With the scope admin it expires with your own token at the latest.',
  created: {
    title: (name: string) => `User “${name}” created`,
    tokenOnly: 'The token is shown only now.',
    linkAndToken: 'The link and the token are shown only now.',
    link: 'Sign-in link',
    linkUse: 'Sign-in link: works once, within an hour',
    token: 'Token',
    tokenUse: 'Token for programs and the command line',
    tokenUseUntil: (expiry: string) => `Token for programs and the command line, expires on ${expiry}`,
    done: 'Done',
  },
};
