/**
 * A write as a part of a statement of PostgreSQL that makes several.
 *
 * @param part.when an SQL condition: that what it goes with has been written
 * @param part.parameter adds a parameter to the statement; answers its place, with its type
 */
export type StatementPart = (part: {
  readonly when: string;
  readonly parameter: (value: string | Date) => string;
}) => string;
