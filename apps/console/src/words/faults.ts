/** What is wrong with the fields of a container's form, and with a link that fills it in. */
export const faultWords = {
  tierAllows: (range: string) => `Your tier allows ${range}.`,
  tooShort: 'Must be 1 min or more.',
  tooLong: (most: string) => `Must be ${most} or less.`,
  name: 'Use 1 to 64 letters, digits and “-”.',
  nameTaken: 'You have a container of this name already.',
  noRole: (role: string) => `There is no role “${role}”.`,
  source: {
    noCustom: 'This server allows no images but those of its list.',
    noReference: 'Enter an image reference, such as python:3.13-slim.',
    notReference: 'This is not an image reference, such as python:3.13-slim.',
    noSnapshot: 'You have no such snapshot that is ready.',
    noImage: (name: string) => `There is no image “${name}”.`,
    noTemplate: (name: string) => `There is no template “${name}”.`,
  },
  network: {
    noAddress: 'Enter an address with its port, such as 203.0.113.0/24:8000.',
    tooMany: (most: number) => `At most ${String(most)} addresses.`,
    notAddress: (entry: string) => `“${entry}” is not an IPv4 address with a port, such as 203.0.113.0/24:8000.`,
  },
  start: {
    openQuote: 'A quotation mark is not closed.',
    port: 'Enter a port: 1 to 65535.',
  },
  /** Of rows of labels and variables. */
  rows: {
    label: 'Use 1 to 63 of a-z, 0-9, “.”, “_”, “/” and “-”.',
    variable: 'Use letters, digits and “_”, and begin with no digit.',
    noName: 'Enter a name.',
    nameTaken: 'This name is in another row too.',
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
      `“${given}” is not possible: ${parameter} is ${values.join(', ')}.`,
  },
};
