import { commonWords } from './common';

/** The texts of a container's processes and of their output. */
export const processesWords = {
  title: 'Processes',
  caption: 'Processes, including those that ended in the last five minutes',
  columns: { command: 'Command', status: commonWords.status, started: 'Started', output: 'Output' },
  /** The names of some of these columns in a card, before their values. */
  cells: { started: 'started', output: 'output' },
  none: {
    title: 'No processes',
    hint:
      'Processes you start here keep running when you leave, and their latest output is kept. ' +
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
  removeFromList: 'Remove from list',
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
    hint: 'The process and everything it started get SIGTERM, then SIGKILL after five seconds.',
    hintOfStart: 'The process and everything it started end. It runs again at the container’s next start.',
  },
  output: {
    unnamed: 'Process',
    title: (name: string) => `Process ${name}`,
  },
  input: {
    of: (name: string) => `Input of ${name}`,
    placeholder: 'Type a line',
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
    folderHint: 'Default: the image’s working directory',
  },
};
