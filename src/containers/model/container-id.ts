/** A complete id of one container or agent. */
export type ContainerReference =
  | { readonly kind: 'database_id'; readonly id: string }
  | { readonly kind: 'engine_id'; readonly id: string }
  | { readonly kind: 'engine_short_id'; readonly id: string }
  | { readonly kind: 'agent'; readonly id: string };

/**
 * A prefix of a database id. It identifies a container if no other container of the user has an id with this prefix.
 */
interface IdBeginning {
  readonly kind: 'database_id_beginning';
  /** The smallest and the greatest id with this prefix. Ids compare alike in every collation of a database. */
  readonly from: string;
  readonly to: string;
}

const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const WHOLE_UUID = new RegExp(`^${UUID}$`);
const LEAST = '00000000-0000-0000-0000-000000000000';
const GREATEST = LEAST.replaceAll('0', 'f');
const SHORTEST_BEGINNING = 8;
const FORMS = [
  ['database_id', new RegExp(`^(${UUID})$`)],
  ['engine_id', /^([0-9a-f]{64})$/],
  ['engine_short_id', /^([0-9a-f]{12})$/],
  ['agent', new RegExp(`^agent:(${UUID})$`)],
] as const;

/** @returns the id of the agent's row; null if the text is not an agent's id */
export function agentIdOf(text: string): string | null {
  const reference = parseContainerReference(text);
  return reference?.kind === 'agent' ? reference.id : null;
}

/**
 * Parses the `:id` that a client sends.
 *
 * @returns null for text that cannot be one of our ids, so that it never reaches the database
 */
export function parseContainerReference(text: string): ContainerReference | IdBeginning | null {
  for (const [kind, form] of FORMS) {
    const id = form.exec(text.toLowerCase())?.[1];
    if (id !== undefined) return { kind, id };
  }
  return parseBeginning(text.toLowerCase());
}

function parseBeginning(text: string): IdBeginning | null {
  const from = text + LEAST.slice(text.length);
  if (text.length < SHORTEST_BEGINNING || !WHOLE_UUID.test(from)) return null;
  return { kind: 'database_id_beginning', from, to: text + GREATEST.slice(text.length) };
}
