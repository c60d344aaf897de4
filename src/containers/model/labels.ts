import type { ObjectLiteral, SelectQueryBuilder } from 'typeorm';
import { isObjectOf, validatedBy, WITHOUT_NUL } from '../../http';

export const MAX_LABELS = 32;
const MAX_VALUE_LENGTH = 255;
const KEY = /^[a-z0-9._/-]{1,63}$/;

const RULE =
  `at most ${String(MAX_LABELS)} labels, keys of 1 to 63 of a-z, 0-9, ".", "_", "/" and "-", ` +
  `values strings of at most ${String(MAX_VALUE_LENGTH)} characters without NUL`;
const SELECTOR_RULE = `at most ${String(MAX_LABELS)} times key:value, or a key alone; ${RULE}`;

/** The JSON Schema of labels. */
export const LABELS_SCHEMA = {
  type: 'object' as const,
  maxProperties: MAX_LABELS,
  propertyNames: { pattern: KEY.source },
  additionalProperties: { type: 'string', maxLength: MAX_VALUE_LENGTH, pattern: WITHOUT_NUL },
};

/** The JSON Schema of a change of labels. */
export const LABELS_PATCH_SCHEMA = {
  type: 'object' as const,
  nullable: true,
  propertyNames: LABELS_SCHEMA.propertyNames,
  additionalProperties: { ...LABELS_SCHEMA.additionalProperties, nullable: true },
};

/** Selects by label: the key must be present, with this value if one is given. */
export interface LabelSelector {
  readonly key: string;
  readonly value: string | null;
}

/** Validates a plain object of labels. */
export function IsLabels(): PropertyDecorator {
  return isObjectOf('isLabels', { validate: isLabels, rule: RULE });
}

/** Validates a change of labels: null removes one. */
export function IsLabelsPatch(): PropertyDecorator {
  const validate = (value: object): boolean =>
    Object.entries(value).every(([key, text]) => KEY.test(key) && (text === null || isValue(text)));
  return isObjectOf('isLabelsPatch', { validate, rule: `${RULE}; null removes one` });
}

/** @returns what is wrong with a plain object of labels; null if it is valid */
export function faultOfLabels(value: object): string | null {
  return isLabels(value) ? null : RULE;
}

/** Validates one selector or several, each parsed by {@link parseSelector}. */
export function IsLabelSelectors(): PropertyDecorator {
  return validatedBy('isLabelSelectors', areSelectors, { message: SELECTOR_RULE });
}

/** Parses `key:value`, or `key` alone. A value may contain colons, and may be empty. */
export function parseSelector(text: string): LabelSelector {
  const colon = text.indexOf(':');
  return colon < 0 ? { key: text, value: null } : { key: text.slice(0, colon), value: text.slice(colon + 1) };
}

/**
 * A fragment that the JSON of a container's labels contains exactly if the selector matches. No key or value can
 * contain the fragment, because JSON escapes a quotation mark in a value with a backslash, and keys have none.
 */
export function jsonFragment({ key, value }: LabelSelector): string {
  return `${JSON.stringify(key)}:${value === null ? '' : JSON.stringify(value)}`;
}

function isLabels(value: object): boolean {
  const labels = Object.entries(value);
  return labels.length <= MAX_LABELS && labels.every(([key, text]) => KEY.test(key) && isValue(text));
}

function areSelectors(value: unknown): boolean {
  const texts: unknown[] = Array.isArray(value) ? value : [value];
  return texts.length <= MAX_LABELS && texts.every(isSelector);
}

function isSelector(text: unknown): boolean {
  if (typeof text !== 'string') return false;
  const { key, value } = parseSelector(text);
  return KEY.test(key) && (value === null || isValue(value));
}

function isValue(text: unknown): boolean {
  return typeof text === 'string' && text.length <= MAX_VALUE_LENGTH && !text.includes('\0');
}

/**
 * Restricts a query to the rows that match all selectors. The condition reads the labels of every remaining
 * row, so the query must be limited to one user.
 */
export function whereLabels(query: SelectQueryBuilder<ObjectLiteral>, selectors: readonly LabelSelector[] = []): void {
  const position = query.dataSource.options.type === 'postgres' ? 'strpos' : 'instr';
  for (const [at, selector] of selectors.entries()) {
    const parameter = `label${String(at)}`;
    query.andWhere(`${position}(${query.alias}.labels, :${parameter}) > 0`, { [parameter]: jsonFragment(selector) });
  }
}
