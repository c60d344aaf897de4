import { commonWords } from './common';

/** The texts of a container's processes and of their output. */
export const processesWords = {
  title: 'Processes',
  caption: 'Processes, and those that ended in the last five minutes',
  columns: { command: 'Command', status: commonWords.status, started: 'Started', output: 'Output' },
  /** The names of some of these columns in a card, before their values. */
  cells: { started: 'started', output: 'output' },
  none: {
    title: 'No processes',
    hint:
      'A process that you start here keeps running when you leave, and its latest output is kept. ' +
      'Programs in terminals are not listed.',
  },
  chips: {
    startCommand: 'start command',
    user: (name: string) => `as ${name}`,
  },
  outputUnknown: 'unknown',
  showOutput: 'Output',
  outputOf: (program: string) => `Output of ${program}`,
  more: (program: string) => `More for ${program}`,
  interrupt: 'Interrupt (SIGINT)',
  removeFromList: 'Remove from the list',
  remove: 'Remove',
  showLess: 'Show less',
  showAll: 'Show all',
  command: 'Command',
  states: {
    ended: 'Ended',
    endedOnRequest: 'Ended on request',
    endedByStop: 'Ended by a stop',
    lost: 'Lost',
    exitCode: (code: number) => `Exit code ${String(code)}`,
  },
  end: {
    action: 'End',
    question: (program: string) => `End “${program}”?`,
    hint: 'The process and everything that it started get SIGTERM, and SIGKILL after five seconds.',
    hintOfStart: 'The process and everything that it started end. It runs again at the next start of the container.',
  },
  output: {
    unnamed: 'Process',
    title: (name: string) => `Process ${name}`,
    isCut: 'Earlier output is no longer kept.',
    none: 'No output.',
    noneYet: 'No output yet.',
  },
  input: {
    of: (name: string) => `Input of ${name}`,
    placeholder: 'A line of input',
    send: 'Send',
    end: 'End input',
    endHint: 'Like Ctrl+D in a terminal',
    hasEnded: 'The input has ended.',
  },
  create: {
    title: 'New process',
    command: 'Command',
    commandHint: "A program and its arguments. For pipes and variables: sh -c 'make | tee log'",
    commandExample: 'node server.js',
    noCommand: 'Enter a command.',
    folder: 'Working directory',
    folderHint: 'By default the image’s own',
  },
};
