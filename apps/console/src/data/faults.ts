import { unitWords } from '../words/units';
import { cpusInWords, sizeInWords, writeTime } from './units';

/** What is wrong with a form, by field. A row of labels is the field `labels.7`. */
export type Faults = Readonly<Record<string, string>>;

export const NO_FAULTS: Faults = {};

/** The units that forms have amounts of the API in. */
const AMOUNTS: ReadonlyMap<string, (amount: number) => string> = new Map([
  ['memory_mb', sizeInWords],
  ['cpu_shares', cpusInWords],
  ['disk_mb', sizeInWords],
  ['auto_stop_seconds', writeTime],
  ['auto_delete_seconds', writeTime],
]);

/** A permitted range in the units of its field, such as `256 MB to 4 GB`; null for a field without units. */
export function rangeInWords(
  field: string,
  { min, max }: { readonly min: number; readonly max: number },
): string | null {
  const write = AMOUNTS.get(field);
  return write ? unitWords.range({ min: write(min), max: write(max) }) : null;
}
