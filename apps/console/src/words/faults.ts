/** What is wrong with the fields of a container's form, and with a link that fills it in. */
export const faultWords = {
  tierAllows: (range: string) => `Your tier allows ${range}.`,
  tooShort: 'Must be at least 1 min.',
  tooLong: (most: string) => `Must be at most ${most}.`,
  name: 'Use 1–64 letters, digits or hyphens.',
  nameTaken: 'You already have a container with this name.',
  noRole: (role: string) => `There is no role “${role}”.`,
  source: {
    noCustom: 'This server only allows images from its list.',
    noReference: 'Enter an image reference, e.g. python:3.13-slim.',
    notReference: 'This is not an image reference, e.g. python:3.13-slim.',
    noSnapshot: 'This snapshot does not exist or is not ready.',
    noImage: (name: string) => `There is no image “${name}”.`,
    noTemplate: (name: string) => `There is no template “${name}”.`,
  },
  network: {
    noAddress: 'Enter an address with its port, e.g. 203.0.113.0/24:8000.',
    tooMany: (most: number) => `At most ${String(most)} addresses.`,
    notAddress: (entry: string) => `“${entry}” is not an IPv4 address with a port, e.g. 203.0.113.0/24:8000.`,
  },
  start: {
    openQuote: 'A quotation mark is not closed.',
    needsShell: "Pipes, variables and the like need a shell: sh -c '…'",
    port: 'Enter a port: 1 to 65535.',
  },
  /** Of rows of labels and variables. */
  rows: {
    label: 'Use 1–63 characters: a-z, 0-9 or . _ / -',
    variable: 'Use letters, digits and underscores. Do not start with a digit.',
    noName: 'Enter a name.',
    nameTaken: 'This name is already used in another row.',
    tooMany: (most: number) => `At most ${String(most)}.`,
    noValue: 'The link does not contain this value. Enter it.',
    hasNul: 'A value cannot contain NUL.',
    tooLong: (most: number) => `At most ${String(most)} characters.`,
  },
  link: {
    unknownParameter: (parameter: string) => `The link has an unknown parameter “${parameter}”.`,
    repeatedParameter: (parameter: string) => `The link has “${parameter}” more than once. The first one was used.`,
    severalSources: (parameters: readonly string[]) => `The link has ${parameters.join(' and ')}. Choose one of them.`,
    notPossible: ({ given, parameter, values }: { given: string; parameter: string; values: readonly string[] }) =>
      `“${given}” is not valid. ${parameter} must be one of ${values.join(', ')}.`,
  },
};
