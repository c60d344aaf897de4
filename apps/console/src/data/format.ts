/** Numbers and times as people read them: in the form of the browser's language, with the units of the page's. */

const decimal = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });

const UNITS: readonly (readonly [seconds: number, unit: string])[] = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
  [1, 's'],
];

/** `2 h 5 min`; the two largest units that are not nothing. */
export function duration(seconds: number): string {
  let rest = Math.max(0, Math.round(seconds));
  if (rest < 1) return '0 s';
  const parts: string[] = [];
  for (const [size, unit] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${whole.format(count)} ${unit}`);
    // Seconds beside hours are noise.
    if (parts.length === 2 || (parts.length === 1 && size >= 3600 && rest < 60)) break;
  }
  return parts.join(' ');
}

/** `350 ms`, or from a second on as {@link duration}. */
export const milliseconds = (ms: number): string => (ms < 1000 ? `${whole.format(ms)} ms` : duration(ms / 1000));

/** `4 min`: one unit, for where it is read at a glance. */
export function briefly(seconds: number): string {
  const rest = Math.max(0, Math.round(seconds));
  const [size, unit] = UNITS.find(([each]) => rest >= each) ?? [1, 's'];
  return `${whole.format(Math.floor(rest / size))} ${unit}`;
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
  return mb < 1024 ? `${whole.format(mb)} MB` : `${decimal.format(mb / 1024)} GB`;
}

/** Millicores as `0.25 CPU`. */
export function cpus(shares: number): string {
  return `${hundredths.format(shares / 1000)} CPU`;
}

export function bytes(value: number): string {
  if (value < 1024) return `${whole.format(value)} B`;
  const units = ['KB', 'MB', 'GB', 'TB'];
  let size = value / 1024;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${decimal.format(size)} ${units[unit] ?? ''}`;
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
