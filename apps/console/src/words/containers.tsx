import { commonWords } from './common';

/** The texts of the list of containers. */
export const containersWords = {
  title: 'Containers',
  newContainer: 'New container',
  loading: 'Loading…',
  used: ({ used, limit }: { readonly used: number; readonly limit: number }) => `${String(used)} of ${String(limit)}`,
  usedHint: 'Containers used, out of your tier’s limit',
  filter: 'Filter by name, image, label or network',
  filterExample: 'Filter: name, image, label, network:none',
  statusFilter: 'Filter by status',
  selectShown: 'Select all shown',
  caption: 'Your containers',
  columns: {
    name: commonWords.name,
    status: commonWords.status,
    image: 'Image, resources',
    usage: 'CPU, memory',
    created: commonWords.created,
    used: 'Last used',
    actions: 'Actions',
  },
  sort: {
    by: 'Sort by',
    ascending: 'Ascending',
    descending: 'Descending',
    reverse: 'Reverse order',
  },
  more: (left: number) => `Show more (${String(left)})`,
  none: {
    title: 'No containers yet',
    hint: () => (
      <>
        A container is your own Linux machine, with a terminal, files and a data folder, <code>/home/user</code>, that
        is kept when it stops.
      </>
    ),
    createFirst: 'Create your first container',
    console: 'In the console',
    cli: {
      title: 'On the command line',
      hint: 'In the project’s folder. The first command asks for a token.',
      copied: 'Commands',
    },
    api: {
      title: 'With curl',
      hint: () => (
        <>
          <code>$BERTH_TOKEN</code> is a token of your own.
        </>
      ),
      copied: 'Request',
    },
    tokens: 'Create a token',
  },
  nothingFound: {
    title: 'No containers match the filter',
    clear: 'Clear filter',
  },
};

/** One command for the shell: without `&&` the question for a token would read the next line. */
export function firstCommands({
  server,
  seesInside,
}: {
  readonly server: string;
  readonly seesInside: boolean;
}): string {
  const commands = [`npx berth login ${server}`, 'npx berth create --name dev'];
  return [...commands, ...(seesInside ? ['npx berth sh dev'] : [])].join(' &&\n');
}

export const firstRequest = (server: string): string =>
  [
    `curl ${server}/api/containers`,
    '-H "Authorization: Bearer $BERTH_TOKEN"',
    "-H 'Content-Type: application/json'",
    `-d '{"name": "dev", "image": "sandbox"}'`,
  ].join(' \\\n  ');
