/** The question before a sign-out that leaves tokens behind. */
export const signOutWords = {
  title: 'Sign out?',
  action: 'Sign out',
  left: 'Tokens that you made in this session go on after it:',
  untilRevoked: 'until it is revoked',
  until: (time: string) => `until ${time}`,
  revoke: 'Revoke them too: programs that use them are refused then.',
};
