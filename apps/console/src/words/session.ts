/** Why a session has ended, as the sign-in page shows it. */
export const sessionWords = {
  signedOutElsewhere: 'You signed out in another tab.',
  ended: 'Your session has ended. Its token was revoked or has expired.',
};
