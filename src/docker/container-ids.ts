/**
 * Ids of containers where there are several machines: `<node>/<id of the engine there>`. Only the engine and what shows
 * ids to clients take them apart; of a single machine they are the engine's own.
 */

const SEPARATOR = '/';

/** @param node null: the only machine */
export function qualifiedId(node: string | null, id: string): string {
  return node === null ? id : `${node}${SEPARATOR}${id}`;
}

/** The machine of a container; null: the only one. */
export function nodeOf(dockerId: string): string | null {
  const at = dockerId.indexOf(SEPARATOR);
  return at === -1 ? null : dockerId.slice(0, at);
}

/** The id that the engine itself uses, and that clients see. */
export function plainId(dockerId: string): string {
  return dockerId.slice(dockerId.indexOf(SEPARATOR) + 1);
}
