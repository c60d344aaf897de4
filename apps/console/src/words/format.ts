import { unitWords } from './units';

/** Numbers and times as people read them: in the form of the browser's language, with the units of the page's. */

const decimal = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });

/** The units of times, from the largest on. */
export const TIME_UNITS: readonly (readonly [seconds: number, write: (count: string) => string])[] = [
  [86_400, unitWords.days],
  [3600, unitWords.hours],
  [60, unitWords.minutes],
  [1, unitWords.seconds],
];

/** `2 h 5 min`; the two largest units that are not nothing. */
export function duration(seconds: number): string {
  let rest = Math.max(0, Math.round(seconds));
  if (rest < 1) return unitWords.seconds('0');
  const parts: string[] = [];
  for (const [size, write] of TIME_UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(write(whole.format(count)));
    // Seconds beside hours are noise.
    if (parts.length === 2 || (parts.length === 1 && size >= 3600 && rest < 60)) break;
  }
  return parts.join(' ');
}

/** `350 ms`, or from a second on as {@link duration}. */
export const milliseconds = (ms: number): string =>
  ms < 1000 ? unitWords.milliseconds(whole.format(ms)) : duration(ms / 1000);

/** `4 min`: one unit, for where it is read at a glance. */
export function briefly(seconds: number): string {
  const rest = Math.max(0, Math.round(seconds));
  const [size, write] = TIME_UNITS.find(([each]) => rest >= each) ?? [1, unitWords.seconds];
  return write(whole.format(Math.floor(rest / size)));
}

export const count = (value: number): string => whole.format(value);

/** At most one digit after the point. */
export const tenths = (value: number): string => decimal.format(value);

/** At most two digits after the point. */
export const fraction = (value: number): string => hundredths.format(value);

/** `1 container`, `2 containers`. */
export const counted = (value: number, noun: string, plural = `${noun}s`): string =>
  `${count(value)} ${value === 1 ? noun : plural}`;

/** MiB as `512 MB` or `1.5 GB`. */
export function megabytes(mb: number): string {
  return mb < 1024 ? unitWords.megabytes(whole.format(mb)) : unitWords.gigabytes(decimal.format(mb / 1024));
}

/** Millicores as `0.25 CPU`. */
export function cpus(shares: number): string {
  return unitWords.cpus(hundredths.format(shares / 1000));
}

const BYTE_UNITS = [unitWords.kilobytes, unitWords.megabytes, unitWords.gigabytes, unitWords.terabytes] as const;

export function bytes(value: number): string {
  if (value < 1024) return unitWords.bytes(whole.format(value));
  let size = value / 1024;
  let unit = 0;
  while (size >= 1024 && unit < BYTE_UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  const write = BYTE_UNITS[unit] ?? unitWords.terabytes;
  return write(decimal.format(size));
}

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeZone: 'UTC' });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

export const at = (iso: string): string => dateTime.format(new Date(iso));
export const onDay = (iso: string): string => day.format(new Date(iso));
export const timeOfDay = (iso: string): string => clock.format(new Date(iso));

/** An image's name without what is the same for all. */
export function shortImage(image: string): string {
  return image.replace(/^berth\//, '').replace(/:latest$/, '');
}
