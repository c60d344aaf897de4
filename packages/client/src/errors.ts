/** An answer of the API that is no success. */
export class BerthError extends Error {
  override readonly name = 'BerthError';
}
