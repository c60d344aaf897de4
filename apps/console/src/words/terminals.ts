import type { ComponentChildren, JSX } from 'preact';

/** The terminals of a container: their tabs and tools, the search, the keys for a touch screen, and their ends. */
export const terminalWords = {
  terminal: 'Terminal',
  nthTerminal: (nth: number) => `Terminal ${String(nth)}`,
  terminalsOf: (container: string) => `Terminals of ${container}`,
  openTerminals: 'Open terminals',
  newTerminal: 'New terminal',
  leaveHint: 'Ctrl+. leaves the terminal',
  tools: 'Tools',
  menu: 'More for this terminal',
  paste: 'Paste',
  selectAll: 'Select all',

  tab: {
    rename: 'Rename',
    renameHint: 'Double-click or press F2 to rename',
    newNameOf: (name: string) => `New name of ${name}`,
    close: (name: string) => `Close ${name}`,
  },
  textSize: {
    larger: 'Larger text',
    largerHint: 'Larger text (Ctrl++)',
    smaller: 'Smaller text',
    smallerHint: 'Smaller text (Ctrl+-)',
    usual: 'Default text size',
  },
  fullScreen: {
    enter: 'Full screen',
    enterHint: 'Full screen (Ctrl+Shift+Enter)',
    leave: 'Leave full screen',
    leaveHint: 'Leave full screen (Ctrl+Shift+Enter)',
    /** @param ifWide a part that is shown only where there is room */
    leaveShort: (ifWide: (text: string) => JSX.Element): ComponentChildren => ['Leave', ifWide(' full screen')],
  },
  elsewhere: {
    label: 'Open elsewhere',
    head: 'Open elsewhere:',
    show: 'Show here',
    noWindow: 'no window',
    attached: (windows: number) => `${String(windows)} attached`,
  },
  end: {
    label: 'End this terminal',
    title: 'End this terminal?',
    text: 'Its shell and all programs started in it end, in all windows.',
    action: 'End',
  },

  search: {
    label: 'Search the output',
    openHint: 'Search the output (Ctrl+Shift+F)',
    matchCase: 'Match case',
    /** A small and a capital letter. */
    matchCaseSign: 'Aa',
    previous: 'Previous match',
    previousHint: 'Previous match (Enter)',
    next: 'Next match',
    nextHint: 'Next match (Shift+Enter)',
    close: 'Close the search',
    closeHint: 'Close (Esc)',
    nothing: 'No matches',
    /** @param nth the selected match; null if none is. @param isAll false if there may be more matches */
    found: ({ nth, matches, isAll }: { nth: number | null; matches: number; isAll: boolean }) =>
      `${nth === null ? '' : `${String(nth)} of `}${String(matches)}${isAll ? '' : ' or more'}`,
  },

  clipboard: {
    isEmpty: 'The clipboard has no text.',
    cannotRead: 'The browser blocked reading the clipboard. Press Ctrl+V instead.',
    cannotWrite: 'The browser blocked copying. Right-click the selected text and choose Copy.',
    nothingSelected: 'Nothing is selected in the terminal.',
    copied: 'Copied.',
    pasteQuestion: (lines: number) => `Paste ${String(lines)} lines?`,
    pasteWarning: 'The program in the terminal may run each line as soon as it arrives.',
  },

  keys: {
    label: 'Keys',
    /** As keyboards have them. */
    escape: 'Esc',
    control: 'Ctrl',
    tab: 'Tab',
    /** For screen readers, of keys that are shown as a sign. */
    names: {
      Tab: 'Tab',
      Left: 'Left',
      Down: 'Down',
      Up: 'Up',
      Right: 'Right',
      Pipe: 'Pipe',
      Slash: 'Slash',
      Hyphen: 'Hyphen',
      Tilde: 'Tilde',
    },
  },

  states: {
    away: 'The server is not responding. What you type is discarded until it is back.',
    wasAway: 'What you typed while the server was away was discarded.',
    interrupted: 'Connection lost. Reconnecting…',
    watching: 'Another window is typing in this terminal. You are watching.',
    /** @param ending how the shell ended that was here, as a sentence */
    newShell: (ending: string) => `${ending} This is a new shell.`,
    unknownEnd:
      'The shell that was here has ended: its container was restarted, ' +
      'or no window was attached for five minutes while nothing ran in it.',
  },
  actions: {
    takeOver: 'Take over',
    restart: 'Restart shell',
    start: 'Start container',
    resume: 'Resume container',
  },

  endings: {
    ended: { title: 'The terminal was ended.', text: 'Another window or program ended it.' },
    detached: {
      title: 'The terminal was ended.',
      text: 'No window was attached to it for five minutes, and nothing ran in it.',
    },
    containerStopped: { title: 'The container was stopped.', text: null },
    containerPaused: { title: 'The container is paused.', text: 'Its programs continue when you resume it.' },
    containerRecreated: {
      title: 'The container was recreated.',
      text: 'Its data was kept. Its programs and terminals have ended.',
    },
    containerDeleted: {
      title: 'The container was deleted.',
      text: 'It can be restored for a while: see “Deleted”.',
    },
    lost: {
      title: 'The terminal has ended.',
      text: 'It was gone when the connection came back: its container stopped in the meantime.',
    },
    notAllowed: { title: 'The terminal was ended.', text: 'Your tier no longer allows terminals.' },
    unknown: { title: 'The terminal has ended.', text: null },
    sessionEnded: {
      title: 'Your session has ended.',
      text: 'Its token was revoked or has expired. Sign in again to come back to this terminal.',
    },
    reason: (why: string) => `Reason: ${why}.`,
    notRunning: 'The container is not running.',
    exited: 'The shell exited.',
    exitedWith: (code: number) => `The shell exited with code ${String(code)}.`,
  },
  /** By the exit code of a shell. */
  exitCodes: {
    126: 'The last program could not be executed.',
    127: 'The last program was not found.',
    130: 'The last program was interrupted by Ctrl+C.',
    137: 'A program was killed (signal 9), which happens when the memory limit is reached.',
    143: 'A program was terminated (signal 15).',
  },
};
