/** The question before a sign-out that leaves tokens behind. */
export const signOutWords = {
  title: 'Sign out?',
  action: 'Sign out',
  left: 'Tokens created in this session stay valid:',
  untilRevoked: 'until it is revoked',
  until: (time: string) => `until ${time}`,
  revoke: 'Revoke them too. Programs that use them lose access.',
};
