import { TIME_UNITS } from '../words/format';
import { unitWords } from '../words/units';

/**
 * Amounts as people write them (`1.5 GB`, `0,5`, `2 h 30 min`), and as the API has them: MiB, millicores, seconds.
 * A text that is not exactly one of those is refused, never rounded. Decimals have a point or a comma; a comma before
 * exactly three digits is refused too, because it may separate thousands.
 */

/** What a text means, or what is wrong with it. */
export type Read = { readonly value: number } | { readonly fault: string };

/** The largest number of the API. */
const MOST = 2n ** 31n - 1n;

const SIZES: ReadonlyMap<string, bigint> = new Map([
  ['', 1024n],
  ['mb', 1n],
  ['mib', 1n],
  ['gb', 1024n],
  ['gib', 1024n],
  ['tb', 2n ** 20n],
  ['tib', 2n ** 20n],
]);

const CPUS: ReadonlyMap<string, bigint> = new Map([
  ['', 1000n],
  ['cpu', 1000n],
  ['cpus', 1000n],
  ['m', 1n],
]);

const TIMES: ReadonlyMap<string, bigint> = new Map([
  ['s', 1n],
  ['sec', 1n],
  ['second', 1n],
  ['seconds', 1n],
  ['m', 60n],
  ['min', 60n],
  ['minute', 60n],
  ['minutes', 60n],
  ['h', 3600n],
  ['hour', 3600n],
  ['hours', 3600n],
  ['d', 86_400n],
  ['day', 86_400n],
  ['days', 86_400n],
  ['w', 604_800n],
  ['week', 604_800n],
  ['weeks', 604_800n],
]);

/** A decimal number of a unit, as a fraction of whole ones. */
interface Fraction {
  readonly over: bigint;
  readonly under: bigint;
}

/** Binary floating point would turn 0.1 GB into a number that nearly is one. */
function fractionOf(digits: string, unit: bigint): Fraction {
  const [whole = '', decimals = ''] = digits.split(/[.,]/);
  return { over: BigInt(whole + decimals) * unit, under: 10n ** BigInt(decimals.length) };
}

const NUMBER = '\\d{1,12}(?:[.,]\\d{1,12})?|\\.\\d{1,12}';
const AMOUNT = new RegExp(`^(${NUMBER})\\s*([a-z]*)$`, 'i');
const PART = new RegExp(`(${NUMBER})\\s*([a-z]*)\\s*`, 'giy');
/** `1,500`: one and a half, or fifteen hundred. */
const AMBIGUOUS = /\d,\d{3}(?!\d)/;

const { faults: FAULTS } = unitWords;

interface Measure {
  readonly units: ReadonlyMap<string, bigint>;
  /** What is said of a text that is no amount. */
  readonly noAmount: string;
  /** The unit of whole numbers. */
  readonly whole: string;
}

/** The separator of the browser's language, if fields can read it. */
const SEPARATOR = new Intl.NumberFormat().formatToParts(0.5).some(({ value }) => value === ',') ? ',' : '.';
const fieldNumber = (value: number): string => String(value).replace('.', SEPARATOR);

const SIZE: Measure = {
  units: SIZES,
  noAmount: FAULTS.noSize({ gigabytes: fieldNumber(1.5), megabytes: '512' }),
  whole: FAULTS.smallest.size,
};
const CPU: Measure = {
  units: CPUS,
  noAmount: FAULTS.noCpus({ one: fieldNumber(0.5), other: '2' }),
  whole: FAULTS.smallest.cpus,
};

function readAmount(text: string, { units, noAmount, whole }: Measure): Read {
  const trimmed = text.trim();
  if (trimmed === '') return { fault: noAmount };
  if (AMBIGUOUS.test(trimmed)) return { fault: FAULTS.noPoint };
  const [, digits = '', unit = ''] = AMOUNT.exec(trimmed) ?? [];
  const factor = units.get(unit.toLowerCase());
  if (digits === '' || factor === undefined) return { fault: noAmount };
  return wholeOf(fractionOf(digits, factor), { text: trimmed, whole });
}

function wholeOf({ over, under }: Fraction, { text, whole }: { readonly text: string; readonly whole: string }): Read {
  const below = over / under;
  if (below > MOST) return { fault: FAULTS.tooMuch };
  if (over % under === 0n) return { value: Number(below) };
  return { fault: FAULTS.notWhole({ text, below: String(below), above: String(below + 1n), unit: whole }) };
}

/** Reads a size; without a unit it is in GB. @returns MiB */
export const readSize = (text: string): Read => readAmount(text, SIZE);

/** Reads a number of CPUs. @returns millicores */
export const readCpus = (text: string): Read => readAmount(text, CPU);

/** Reads a time with its units, such as `90 min` or `1 d 12 h`. @returns seconds */
export function readTime(text: string): Read {
  const trimmed = text.trim();
  if (AMBIGUOUS.test(trimmed)) return { fault: FAULTS.noPoint };
  let sum: Fraction = { over: 0n, under: 1n };
  let end = 0;
  for (const [part, digits = '', unit = ''] of trimmed.matchAll(PART)) {
    if (unit === '') return { fault: FAULTS.noUnit };
    const factor = TIMES.get(unit.toLowerCase());
    if (factor === undefined) break;
    const each = fractionOf(digits, factor);
    sum = { over: sum.over * each.under + each.over * sum.under, under: sum.under * each.under };
    end += part.length;
  }
  if (trimmed === '' || end !== trimmed.length) return { fault: FAULTS.noTime };
  return wholeOf(sum, { text: trimmed, whole: FAULTS.smallest.time });
}

/** How many decimals of a GB are shown before MB are easier to read. */
const DECIMALS = 3;

/** In the form of the browser's language; without separators of thousands, which fields do not read. */
const inLanguage = new Intl.NumberFormat(undefined, { maximumFractionDigits: DECIMALS, useGrouping: false });

const isShort = (gigabytes: number): boolean => Number.isInteger(gigabytes * 10 ** DECIMALS);

/** Exactly, with its unit: `512 MB`, `1.5 GB`. */
export function sizeInWords(mb: number): string {
  const gigabytes = mb / 1024;
  return mb < 1024 || !isShort(gigabytes)
    ? unitWords.megabytes(inLanguage.format(mb))
    : unitWords.gigabytes(inLanguage.format(gigabytes));
}

/** As a field of GB shows it: `0.5`; with the unit where it is not GB: `700 MB`. */
export function writeSize(mb: number): string {
  const gigabytes = mb / 1024;
  const text = fieldNumber(gigabytes);
  return isShort(gigabytes) && !AMBIGUOUS.test(text) ? text : unitWords.megabytes(String(mb));
}

/** `0.25` for 250 millicores; with a point where a comma would not be read. */
export function writeCpus(millicores: number): string {
  const text = fieldNumber(millicores / 1000);
  return AMBIGUOUS.test(text) ? String(millicores / 1000) : text;
}

/** `1 CPU`, `0.5 CPU`. */
export const cpusInWords = (millicores: number): string => unitWords.cpus(inLanguage.format(millicores / 1000));

/** Exactly, as {@link readTime} reads it: `1 d 12 h`. */
export function writeTime(seconds: number): string {
  let rest = seconds;
  const parts: string[] = [];
  for (const [size, write] of TIME_UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(write(String(count)));
  }
  return parts.join(' ') || unitWords.seconds('0');
}
