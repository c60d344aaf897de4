/** The parts that pages are made of: headings, dialogs, buttons to copy, lists that are read by pages. */
export const partWords = {
  product: 'Berth',
  documentTitle: (page: string) => `${page} · Berth`,
  actions: 'Actions',
  loading: 'Loading…',
  tryAgain: 'Try again',
  showMore: 'Show more',
  dismiss: 'Dismiss',
  copied: (what: string) => `${what} copied.`,
  copyLabel: (what: string) => `Copy: ${what}`,
  copyFault: 'The browser blocked copying. Select the text instead.',
  mustNotBeEmpty: (field: string) => `${field} is required.`,
  removeLabel: ({ verb, name }: { verb: string; name: string }) => `${verb} ${name}`,
  notLoaded: 'This part of the page could not be loaded.',
  loadAgain: 'Reload the page',
};
