/** Why a user may not see inside containers. */
export const accessWords = {
  notOnTier: 'Your tier does not allow access to the inside of containers',
  notInScopes: 'Your token lacks the scope “exec”, which this needs',
};
