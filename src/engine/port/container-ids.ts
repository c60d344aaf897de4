/**
 * Container ids on a cluster: `<node>/<id of the engine there>`. Only the functions of this file split them. On a
 * single machine they are the engine's own ids.
 */

const SEPARATOR = '/';

/** @param node null on a single machine */
export function qualifiedId(node: string | null, id: string): string {
  return node === null ? id : `${node}${SEPARATOR}${id}`;
}

/** The node of a container; null on a single machine. */
export function nodeOf(engineId: string): string | null {
  const at = engineId.indexOf(SEPARATOR);
  return at === -1 ? null : engineId.slice(0, at);
}

/** The engine's own id, which clients see. */
export function plainId(engineId: string): string {
  return engineId.slice(engineId.indexOf(SEPARATOR) + 1);
}
