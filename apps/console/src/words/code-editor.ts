/** The editor for text files, around and in CodeMirror. */
export const codeEditorWords = {
  keysHint: 'Tab indents. To leave the editor by keyboard, press Esc, then Tab. Ctrl+F finds, Ctrl+S saves.',
  wrapLines: 'Wrap lines',
  plainText: 'Plain text',
  settingsFile: 'Settings',

  /** By the texts that CodeMirror has for its search. */
  search: {
    next: 'Next',
    previous: 'Previous',
    all: 'All',
    'match case': 'Match case',
    regexp: 'Regular expression',
    'by word': 'Whole words',
    replace: 'Replace',
    'replace all': 'Replace all',
    Replace: 'Replace with',
    close: 'Close search',
  },
};
