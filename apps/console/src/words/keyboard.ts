type Shortcuts = readonly (readonly [where: string, keys: readonly (readonly [keys: string, what: string])[]])[];

/** The list of keyboard shortcuts, and the button that opens the command palette. */
export const keyboardWords = {
  title: 'Keyboard shortcuts',
  paletteKeys: { mac: '⌘ K', other: 'Ctrl K' },
  openPalette: 'Search pages, containers and actions',
  search: 'Search…',
  paletteFault: 'The search could not be loaded. Reload the page.',
  inTerminal: 'In a terminal, all keys go to its program, Ctrl K too. Use the Search button in the menu instead.',
  /** All shortcuts by where they work: a new one is added here too. */
  shortcuts: (paletteKeys: string): Shortcuts => [
    [
      'Everywhere',
      [
        [paletteKeys, 'Search pages, containers and actions'],
        ['/', 'Search the list on this page'],
        ['?', 'Show this list'],
        ['Esc', 'Close a dialog, a menu or this list'],
      ],
    ],
    [
      'In search and menus',
      [
        ['↑ ↓', 'Previous or next entry'],
        ['Enter', 'Select the entry'],
      ],
    ],
    [
      'In a terminal',
      [
        ['Ctrl Shift F', 'Search the output'],
        ['Ctrl Shift C', 'Copy the selection'],
        ['Ctrl Shift V', 'Paste'],
        ['Ctrl + − 0', 'Change the text size'],
        ['Ctrl Shift Enter', 'Toggle full screen'],
        ['Ctrl .', 'Focus the tab (F2 renames it)'],
      ],
    ],
    [
      'In a file list',
      [
        ['Shift ↑ ↓', 'Select a range'],
        ['Ctrl A', 'Select all'],
        ['Delete', 'Delete the selection'],
      ],
    ],
    [
      'In the text editor',
      [
        ['Ctrl S', 'Save'],
        ['Ctrl F', 'Search'],
        ['Esc, then Tab', 'Leave the editor'],
      ],
    ],
  ],
};
