import type { TransformFnParams } from 'class-transformer';

/** Query strings are text: turns plain decimal digits into a number and leaves the rest for the validator to refuse. */
export function integerFromQuery({ value }: TransformFnParams): unknown {
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
}
