/** The user's tokens. */
export const tokenWords = {
  title: 'Tokens',
  about: 'Access tokens for the CLI and API',
  new: 'New token',
  caption: 'Your tokens, oldest first',
  columns: { prefix: 'Prefix', scopes: 'Scopes', expires: 'Expires' },
  empty: 'No tokens',
  ofThisSession: 'this session',
  onlyFor: (container: string) => `only ${container}`,
  onlyForForksToo: (container: string) => `only ${container} and forks`,

  revoke: {
    title: (name: string) => `Revoke “${name}”?`,
    text: 'The token stops working, and its connections are closed.',
    textOfThisSession: 'This is the token of this session: you will be signed out.',
    action: 'Revoke',
  },
  create: {
    nameHint: 'e.g. laptop, ci',
    expiryHint: 'Stays valid after you sign out, until revoked or expired.',
    limitedExpiryHint: (latest: string) =>
      `Stays valid after you sign out, until revoked or expired: on ${latest} at the latest, ` +
      'as this session does. `npm run token` on the server makes longer ones.',
    access: 'Access',
    everything: 'All containers',
    onlyFor: (container: string) => `Only ${container}`,
    accessHint: 'For an agent, choose one container. The token ends when that container is deleted permanently.',
    forks: 'May fork the container and use its forks',
    format: 'Used by',
    formats: { berth: 'Berth API, client and CLI', e2b: 'E2B SDKs' },
  },
  made: {
    title: (name: string) => `Token “${name}”`,
    text: 'Shown only once. Anyone with this token can use your containers within its scopes.',
    secret: 'Token',
    expires: (time: string) => `It expires on ${time}.`,
    forE2b: (origin: string) => `Set E2B_API_KEY to this token, and E2B_API_URL and E2B_SANDBOX_URL to ${origin}/e2b.`,
    done: 'Done',
  },
};
