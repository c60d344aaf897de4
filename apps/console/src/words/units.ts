/** Amounts with their units. What forms show must stay readable for `data/units`, which reads times and sizes again. */
export const unitWords = {
  days: (count: string) => `${count} d`,
  hours: (count: string) => `${count} h`,
  minutes: (count: string) => `${count} min`,
  seconds: (count: string) => `${count} s`,
  milliseconds: (count: string) => `${count} ms`,
  bytes: (count: string) => `${count} B`,
  kilobytes: (count: string) => `${count} KB`,
  megabytes: (count: string) => `${count} MB`,
  gigabytes: (count: string) => `${count} GB`,
  terabytes: (count: string) => `${count} TB`,
  cpus: (count: string) => `${count} CPU`,
  percent: (count: string) => `${count}%`,
  range: ({ min, max }: { min: string; max: string }) => `${min} to ${max}`,
  justNow: 'just now',
  ago: (time: string) => `${time} ago`,
  in: (time: string) => `in ${time}`,
  /** What is wrong with an amount that was entered. */
  faults: {
    noPoint: 'Use a decimal point, e.g. 1.5.',
    noSize: ({ gigabytes, megabytes }: { gigabytes: string; megabytes: string }) =>
      `Enter an amount, e.g. ${gigabytes} GB or ${megabytes} MB.`,
    noCpus: ({ one, other }: { one: string; other: string }) => `Enter an amount, e.g. ${one} or ${other}.`,
    noTime: 'Enter a time, e.g. 30 min, 2 h or 7 d.',
    noUnit: 'Add a unit: 30 min, 2 h or 7 d.',
    tooMuch: 'Too large.',
    notWhole: ({ text, below, above, unit }: { text: string; below: string; above: string; unit: string }) =>
      `${text} is between ${below} and ${above} ${unit}. Enter a whole number of them.`,
    /** The smallest units, of which an amount is a whole number. */
    smallest: { size: 'MB', cpus: 'thousandths of a CPU', time: 'seconds' },
  },
};
