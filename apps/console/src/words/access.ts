/** Why a user may not see inside containers. */
export const accessWords = {
  notOnTier: 'Your tier does not include terminal and file access',
  notInScopes: 'This needs the “exec” scope, which your token does not have',
};
