/** The texts of the catalogue of images. */
export const imageWords = {
  title: 'Images',
  about: 'Images for new containers',
  empty: 'No images yet',
  caption: 'Images of the catalogue',
  columns: { pulled: 'Pulled' },
  cells: { pulled: 'pulled' },
  default: 'default',
  /** When an image is pulled. */
  policies: {
    missing: 'when missing',
    daily: 'once a day',
    always: 'on every creation',
    never: 'never (built on the machine)',
  },
  available: 'Available',
  notBuilt: 'Not built',
  notPulled: 'Not pulled',
  unknown: 'Unknown',
  pullNow: 'Pull now',
  pullOneNow: (name: string) => `Pull now: ${name}`,
  pulling: 'Pulling',
  pullingPercent: (percent: number) => `Pulling, ${String(percent)}%`,
  pullOf: (name: string) => `Pull of ${name}`,
  results: {
    updated: (name: string) => `“${name}” has a new version. Existing containers keep theirs until they are recreated.`,
    unchanged: (name: string) => `“${name}” is up to date.`,
  },
};
