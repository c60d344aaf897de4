/** What a client may put where `:id` stands. */
export type ContainerReference =
  | { readonly kind: 'database_id'; readonly id: string }
  | { readonly kind: 'docker_id'; readonly id: string }
  | { readonly kind: 'docker_short_id'; readonly id: string }
  | { readonly kind: 'agent'; readonly id: string };

const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const FORMS = [
  ['database_id', new RegExp(`^(${UUID})$`)],
  ['docker_id', /^([0-9a-f]{64})$/],
  ['docker_short_id', /^([0-9a-f]{12})$/],
  ['agent', new RegExp(`^agent:(${UUID})$`)],
] as const;

/** @returns the id of the agent's row; null where the text is no agent's id */
export function agentIdOf(text: string): string | null {
  const reference = parseContainerReference(text);
  return reference?.kind === 'agent' ? reference.id : null;
}

/** @returns null for what can be no id of ours, so that it never reaches the database */
export function parseContainerReference(text: string): ContainerReference | null {
  for (const [kind, form] of FORMS) {
    const id = form.exec(text.toLowerCase())?.[1];
    if (id !== undefined) return { kind, id };
  }
  return null;
}
