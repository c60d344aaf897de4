/** The user's tokens. */
export const tokenWords = {
  title: 'Tokens',
  about: 'What programs sign in with',
  new: 'New token',
  caption: 'Your tokens, the oldest first',
  columns: { prefix: 'Begins with', scopes: 'Scopes', expires: 'Expires' },
  empty: 'No tokens',
  ofThisSession: 'this session',
  onlyFor: (container: string) => `only ${container}`,
  onlyForForksToo: (container: string) => `only ${container} and forks`,

  revoke: {
    title: (name: string) => `Revoke “${name}”?`,
    text: 'Requests with this token are refused from then on, and its connections are closed.',
    textOfThisSession: 'It is the token of this session: you are signed out then.',
    action: 'Revoke',
  },
  create: {
    nameHint: 'To recognise it by: laptop, ci',
    expiryHint: 'It stays valid after you sign out, until it is revoked or expires.',
    limitedExpiryHint: (latest: string) =>
      `It stays valid after you sign out, until it is revoked or expires: at the latest on ${latest}, ` +
      'as this session does. `npm run token` on the server makes longer ones.',
    access: 'Access',
    everything: 'All containers',
    onlyFor: (container: string) => `Only ${container}`,
    accessHint: 'For an agent, choose one container. The token ends when that container is deleted permanently.',
    forks: 'May fork the container and use its forks',
    format: 'Used by',
    formats: { berth: "Berth's API, client and command line", e2b: "Programs with E2B's SDKs" },
  },
  made: {
    title: (name: string) => `Token “${name}”`,
    text: 'The token is shown only once. Anyone who has it can do with your containers what its scopes allow.',
    secret: 'The token',
    expires: (time: string) => `It expires on ${time}.`,
    forE2b: (origin: string) => `Set E2B_API_KEY to this token, and E2B_API_URL and E2B_SANDBOX_URL to ${origin}/e2b.`,
    done: 'Done',
  },
};
