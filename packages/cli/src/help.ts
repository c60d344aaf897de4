import type { Command } from 'commander';

/** The sections of `berth --help`, with their commands. */
const GROUPS: readonly (readonly [heading: string, names: readonly string[]])[] = [
  ['Containers:', ['ls', 'show', 'create', 'update', 'env', 'start', 'stop', 'pause', 'resume', 'rm', 'restore']],
  [
    'Inside a container:',
    ['exec', 'run-code', 'sh', 'cp', 'logs', 'top', 'stats', 'open', 'port', 'ssh', 'ssh-config'],
  ],
  ['Snapshots and copies:', ['snapshot', 'fork']],
  ['Your account:', ['whoami', 'usage', 'images', 'watch', 'tokens', 'ssh-keys', 'agents', 'webhooks']],
  ['Servers:', ['login', 'logout', 'contexts', 'use']],
  ['More:', ['mcp', 'admin', 'completion']],
];

type Examples = readonly (readonly [line: string, what: string])[];

/** One to three examples for each command, by its path. A test parses every one of them. */
const EXAMPLES: Readonly<Record<string, Examples>> = {
  ls: [
    ['berth ls', 'Containers and online agents'],
    ['berth ls -l team=core -s running', 'Filtered by label and status'],
    ['berth ls -q --ends-within 1h', 'Ids of those that stop within an hour'],
  ],
  show: [
    ['berth show dev', 'Status, resources, network and lifetime'],
    ['berth show dev --json', 'All fields, for scripts'],
  ],
  create: [
    ['berth create --name dev', 'A container with the default image'],
    ['berth create node:24 --name web --memory 1g --start "node server.js"', 'Any image, with a start command'],
    ['berth create --snapshot ready --name other', 'A container with the files of a snapshot'],
  ],
  update: [
    ['berth update dev --name web', 'Rename a container'],
    ['berth update dev -e LEVEL=debug --unset-env TRACE', 'Change environment variables'],
    ['berth update dev --memory 2g --yes', 'Resize it, which recreates it'],
  ],
  'env ls': [
    ['berth env ls dev', 'Names, with masked values'],
    ['berth env ls dev --reveal', 'With the values'],
  ],
  'env get': [['berth env get dev API_TOKEN', 'Only one value']],
  'env set': [['berth env set dev LEVEL=debug', 'Other variables stay unchanged']],
  'env rm': [['berth env rm dev TRACE', 'Remove a variable']],
  start: [['berth start dev web', 'Start two containers']],
  stop: [['berth stop dev', 'Stop a container; its files are kept']],
  pause: [['berth pause dev', 'Pause its processes; memory is kept']],
  resume: [['berth resume dev', 'Resume its processes']],
  rm: [
    ['berth rm dev', 'Delete a container; `berth restore dev` undoes it'],
    ['berth rm -f dev', 'Even if Docker cannot remove it'],
  ],
  restore: [
    ['berth ls -s deleted', 'Containers that can be restored'],
    ['berth restore dev', 'Restore one; it is then stopped'],
  ],
  exec: [
    ['berth exec dev -- ls -l /', 'Run a command and exit with its exit code'],
    ['berth exec -it dev -- python3', 'With a terminal and your keys'],
    ['berth exec -i dev -- tar -x < a.tar', 'With standard input'],
  ],
  sh: [
    ['berth sh dev', 'Open a shell; Ctrl-] detaches from it'],
    ['berth sh dev --attach', 'Attach to it again'],
  ],
  cp: [
    ['berth cp report.txt dev:', 'Copy a file to /home/user'],
    ['berth cp dev:out .', 'Copy a file or directory from a container'],
    ['berth cp dev:notes.txt - | less', 'Write a file to standard output'],
  ],
  logs: [
    ['berth logs dev', 'Output of the start command'],
    ['berth logs dev -f -n 20', 'Its last 20 lines, and new output'],
    ['berth logs dev -t', 'Each line with the time at which it was written'],
  ],
  'run-code': [
    ['berth run-code notebook -c "x = 20; x * 2"', 'The value of the last line, in the image code'],
    ['berth run-code notebook plot.py -o pictures', 'A file; pictures are written to a directory'],
    ['berth run-code notebook -l javascript < code.js', 'Another language, from standard input'],
  ],
  top: [['berth top dev', 'The start command, and what `exec -d` started']],
  stats: [
    ['berth stats', 'All running containers, updated until Ctrl-C'],
    ['berth stats dev web --no-stream', 'Two containers, once'],
  ],
  open: [
    ['berth open dev', 'Open the console at a container'],
    ['berth open dev --print', 'Only print the URL'],
  ],
  'port ls': [
    ['berth port ls dev', 'Ports on which programs listen, with their URLs'],
    ['berth port ls dev --follow', 'Also show changes'],
  ],
  'port link': [
    ['berth port link dev 3000', 'A URL for the port, valid for a day'],
    ['berth port link dev 3000 --expires 1h --once', 'For one browser, for an hour'],
  ],
  'port links': [['berth port links dev 3000', 'Links to a port']],
  'port unlink': [['berth port unlink dev 3000 5b60f149', 'Revoke a link by its id']],
  'port public': [['berth port public dev 3000', 'Make a port accessible to everyone']],
  'port private': [['berth port private dev 3000', 'Only for you and visitors with a link']],
  ssh: [
    ['berth ssh dev', 'Log in over SSH'],
    ['berth ssh dev -L 3000:localhost:3000', 'Forward a port; all ssh options work'],
    ['berth ssh dev ls -l', 'Run a command'],
  ],
  'ssh-config': [
    ['berth ssh-config >> ~/.ssh/config', 'Entries such as dev.berth, for editors and scp'],
    ['berth ssh-config dev -i ~/.ssh/id_ed25519', 'One container, with your own key'],
  ],
  'ssh-keys ls': [['berth ssh-keys', 'Your registered keys']],
  'ssh-keys add': [
    ['berth ssh-keys add', 'Register ~/.ssh/id_ed25519.pub'],
    ['berth ssh-keys add work.pub --name work --expires 90d', 'Another key, for 90 days'],
  ],
  'ssh-keys rm': [['berth ssh-keys rm 5b60f149', 'Delete a key by a prefix of its id']],
  'snapshot create': [['berth snapshot create dev --name ready', 'Create a snapshot']],
  'snapshot ls': [
    ['berth snapshot ls', 'All snapshots'],
    ['berth snapshot ls --container dev', 'Snapshots of a container'],
  ],
  'snapshot show': [['berth snapshot show ready', 'One snapshot']],
  'snapshot update': [['berth snapshot update ready --name v2 --description "With Node.js"', 'Rename it']],
  'snapshot rm': [
    ['berth snapshot rm ready', 'Delete a snapshot, with confirmation'],
    ['berth snapshot rm ready old --yes', 'Delete two without confirmation'],
  ],
  'snapshot restore': [['berth snapshot restore dev ready --yes', 'Restore a container to a snapshot']],
  fork: [
    ['berth fork dev --name copy', 'Copy a container with its files'],
    ['berth fork dev --count 3', 'Create three copies'],
  ],
  login: [
    ['berth login https://berth.example.org', 'Log in with a token, entered at a prompt'],
    ['berth login http://127.0.0.1:8080 --guest ada', 'Log in as a guest, without a token'],
    ['berth login https://berth.example.org --token-stdin < token', 'For scripts'],
  ],
  logout: [['berth logout', 'Remove the current context and its token']],
  contexts: [['berth contexts', 'Saved servers and users']],
  use: [['berth use staging', 'Make a context the current one']],
  whoami: [['berth whoami', 'User, server, scopes, usage and limits']],
  images: [['berth images', 'Names for `berth create`']],
  'tokens ls': [['berth tokens', 'Your tokens']],
  'tokens create': [
    ['berth tokens create ci --scopes read,write --expires-in 30', 'A token for 30 days without access to files'],
    ['berth tokens create agent --container dev --expires-in 7', 'A token for one container, for an agent'],
  ],
  'tokens rm': [['berth tokens rm 3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11', 'Revoke a token']],
  'agents ls': [['berth agents', 'Your agents']],
  'agents create': [['berth agents create workshop --tags linux,gpu', 'Create an agent and print its token']],
  usage: [['berth usage --from 2026-11-01 --to 2026-11-30', 'Usage by day']],
  watch: [
    ['berth watch', 'Events as they happen'],
    ['berth watch --json --after 0', 'All stored events, for scripts'],
  ],
  'webhooks ls': [['berth webhooks', 'Your webhooks']],
  'webhooks create': [
    ['berth webhooks create https://example.org/hook -e container_error', 'Send one event type to a URL'],
  ],
  'webhooks pause': [['berth webhooks pause 5b60f149', 'Stop sending; events are queued']],
  'webhooks resume': [['berth webhooks resume 5b60f149', 'Continue sending']],
  'webhooks rm': [['berth webhooks rm 5b60f149', 'Delete a webhook']],
  'webhooks rotate-secret': [['berth webhooks rotate-secret 5b60f149', 'Print a new secret']],
  'webhooks test': [['berth webhooks test 5b60f149', 'Send a test event']],
  'webhooks deliveries': [['berth webhooks deliveries 5b60f149 --status failed', 'Failed deliveries']],
  'webhooks redeliver': [['berth webhooks redeliver 5b60f149 1042', 'Resend a delivery']],
  'admin capacity': [['berth admin capacity', 'Reserved and free capacity']],
  'admin warm': [
    ['berth admin warm', 'Containers started in advance'],
    ['berth admin warm --empty', 'Remove unused ones'],
  ],
  'admin templates ls': [['berth admin templates', 'All templates']],
  'admin templates put': [
    ['berth admin templates put node-tools 2026-11 --snapshot ready --tier pro', 'From a snapshot, for one tier'],
    ['berth admin templates put tools 1.4 --image my-tools:1.4 --memory 2g', 'From an image'],
  ],
  'admin templates rm': [['berth admin templates rm node-tools', 'Delete a template']],
  'admin nodes ls': [['berth admin nodes', 'All nodes with their usage']],
  'admin nodes drain': [
    ['berth admin nodes drain node2', 'Block new containers on a node'],
    ['berth admin nodes drain node2 --move', 'Also move its containers to other nodes'],
  ],
  'admin nodes activate': [['berth admin nodes activate node2', 'Use a node again']],
  'admin nodes forget': [['berth admin nodes forget node3', 'Give up a lost node with its data']],
  'admin users': [['berth admin users --tier free', 'Users of a tier']],
  'admin containers': [['berth admin containers -s error', 'Containers of all users']],
  'admin move': [['berth admin move 91f60747 node2', 'Move a container with its data']],
  'admin usage': [['berth admin usage --from 2026-11-01', 'Usage of all users by day']],
  'admin audit': [['berth admin audit --action container.delete -n 20', 'The last 20 deletions']],
  'admin reconcile': [['berth admin reconcile', 'Compare all containers with Docker']],
  mcp: [
    ['berth mcp', 'For the configuration of an agent that starts its tools as programs'],
    ['berth --context work mcp', 'With the server and token of a context'],
  ],
  completion: [
    ['eval "$(berth completion bash)"', 'For ~/.bashrc'],
    ['berth completion fish > ~/.config/fish/completions/berth.fish', 'For fish'],
  ],
};

/** Commands of docker, gh and flyctl, and what they are called here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  run: 'create',
  launch: 'create',
  kill: 'stop',
  commit: 'snapshot create',
  attach: 'sh --attach',
  console: 'open',
  browse: 'open',
  events: 'watch',
  rename: 'update --name',
  scale: 'update',
  delete: 'rm',
  destroy: 'rm',
  auth: 'login',
  context: 'contexts',
  ports: 'port ls',
  proxy: 'ssh -L',
  info: 'whoami',
  config: 'contexts',
  list: 'ls',
  shell: 'sh',
};

/** @returns this program's command for a word of another tool */
export function meantBy(word: string): string | undefined {
  return Object.hasOwn(ELSEWHERE, word) ? ELSEWHERE[word] : undefined;
}

/** Adds sections to the program's help, and examples to that of each command. */
export function addHelp(program: Command): void {
  for (const [heading, names] of GROUPS) {
    for (const command of program.commands) if (names.includes(command.name())) command.helpGroup(heading);
  }
  program.addHelpText('after', ENVIRONMENT).showHelpAfterError('See `berth --help`.');
  addBelow(program);
}

const ENVIRONMENT = `
Start with \`berth login URL\`, \`berth create --name dev\` and \`berth sh dev\`.
A container is identified by its name or by a prefix of its id.

Environment:
  BERTH_URL, BERTH_TOKEN  server and token, instead of the current context
  BERTH_CONFIG            path of the file with the contexts

Exit codes: 0 success, 1 failure, 2 invalid usage, 3 not allowed, 4 not found, 5 conflict, 6 server unreachable,
130 interrupted. exec and sh exit with the code of the program, 127 if there is no such program,
and 125 if it could not be run for another reason.`;

function addBelow(parent: Command): void {
  for (const command of parent.commands) {
    // Commands that only have others below them show an example of each of the first three.
    const examples = command.commands.length > 0 ? firstExamples(command.commands) : examplesOf(pathOf(command));
    const width = Math.max(...examples.map(([line]) => line.length));
    const isWide = width > 56;
    const lines = examples.map(([line, what]) =>
      isWide ? `  # ${what}\n  ${line}` : `  ${line.padEnd(width)}  # ${what}`,
    );
    if (examples.length > 0) {
      command.addHelpText('after', `\n${examples.length === 1 ? 'Example' : 'Examples'}:\n${lines.join('\n')}`);
    }
    command.showHelpAfterError(`See \`berth ${pathOf(command)} --help\`.`);
    // Under a heading of its own it would have that of the program's help.
    if (command.commands.length > 0) command.helpCommand('help [command]', 'Show help for a command');
    addBelow(command);
  }
}

function firstExamples(commands: readonly Command[]): Examples {
  return commands.flatMap((each) => examplesOf(pathOf(each)).slice(0, 1)).slice(0, 3);
}

export function examplesOf(path: string): Examples {
  return Object.hasOwn(EXAMPLES, path) ? (EXAMPLES[path] ?? []) : [];
}

/** Such as `admin nodes drain`. */
export function pathOf(command: Command): string {
  const above = command.parent;
  return above?.parent ? `${pathOf(above)} ${command.name()}` : command.name();
}
