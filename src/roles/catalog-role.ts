/** The supported package managers: of Debian and Ubuntu, of Alpine, and of Fedora. */
export const PACKAGE_MANAGERS = ['apt', 'apk', 'dnf'] as const;
type PackageManager = (typeof PACKAGE_MANAGERS)[number];

/** A container's purpose: programs that are installed in addition to those of its image. */
export interface CatalogRole {
  /** The name that clients write. */
  readonly name: string;
  /** For people, in a sentence. */
  readonly description: string;
  /** Package names for each package manager. All empty if there is nothing to install. */
  readonly packages: Readonly<Record<PackageManager, readonly string[]>>;
  /** Programs whose presence shows that the role is installed. */
  readonly probe: readonly string[];
}

/** The role that adds nothing to the image: always offered, and the same as no role. */
export const BAREBONE: CatalogRole = {
  name: 'barebone',
  description: 'Only what the image contains',
  packages: { apt: [], apk: [], dnf: [] },
  probe: [],
};

const STANDARD = 'standard';

/**
 * Other names of roles: each stands for the first of its roles that the catalogue has. A role with exactly this name
 * takes precedence.
 */
export const ROLE_ALIASES: ReadonlyMap<string, readonly string[]> = new Map([
  // Rexec's command line sends this if its user names no role. It must work with an operator's catalogue, too.
  ['default', [STANDARD, BAREBONE.name]],
]);

/** The catalogue in addition to `barebone`, unless the operator's `ROLES_FILE` replaces it. */
export const DEFAULT_ROLES: readonly CatalogRole[] = [
  {
    name: STANDARD,
    description: 'Common tools: git, curl, wget, vim, nano, htop, jq, unzip and less',
    packages: {
      apt: ['git', 'curl', 'ca-certificates', 'wget', 'vim', 'nano', 'htop', 'jq', 'unzip', 'less'],
      apk: ['git', 'curl', 'wget', 'vim', 'nano', 'htop', 'jq', 'unzip', 'less'],
      dnf: ['git', 'curl', 'wget', 'vim-enhanced', 'nano', 'htop', 'jq', 'unzip', 'less'],
    },
    probe: ['git', 'curl', 'wget', 'vim', 'nano', 'htop', 'jq', 'unzip', 'less'],
  },
  {
    name: 'node',
    description: 'Node.js with npm',
    packages: { apt: ['nodejs', 'npm'], apk: ['nodejs', 'npm'], dnf: ['nodejs', 'nodejs-npm'] },
    probe: ['node', 'npm'],
  },
  {
    name: 'python',
    description: 'Python 3 with pip and virtual environments',
    packages: {
      apt: ['python3', 'python3-pip', 'python3-venv'],
      apk: ['python3', 'py3-pip'],
      dnf: ['python3', 'python3-pip'],
    },
    probe: ['python3', 'pip3'],
  },
  {
    name: 'go',
    description: 'Go with git for its modules',
    packages: { apt: ['golang-go', 'git', 'ca-certificates'], apk: ['go', 'git'], dnf: ['golang', 'git'] },
    probe: ['go', 'git'],
  },
  {
    name: 'rust',
    description: 'Rust with cargo and a linker',
    packages: { apt: ['rustc', 'cargo', 'ca-certificates'], apk: ['rust', 'cargo'], dnf: ['rust', 'cargo'] },
    probe: ['rustc', 'cargo'],
  },
  {
    name: 'neovim',
    description: 'Neovim with ripgrep, git, curl and a C compiler for its plugins',
    packages: {
      apt: ['neovim', 'ripgrep', 'git', 'curl', 'ca-certificates', 'gcc', 'libc6-dev', 'make'],
      apk: ['neovim', 'ripgrep', 'git', 'curl', 'gcc', 'musl-dev', 'make'],
      dnf: ['neovim', 'ripgrep', 'git', 'curl', 'gcc', 'make'],
    },
    probe: ['nvim', 'rg', 'git', 'curl', 'gcc', 'make'],
  },
  {
    name: 'devops',
    description: 'git, ssh, rsync, make, curl, jq and Ansible',
    packages: {
      apt: ['git', 'openssh-client', 'rsync', 'make', 'curl', 'ca-certificates', 'jq', 'ansible-core'],
      apk: ['git', 'openssh-client', 'rsync', 'make', 'curl', 'jq', 'ansible-core'],
      dnf: ['git', 'openssh-clients', 'rsync', 'make', 'curl', 'jq', 'ansible-core'],
    },
    probe: ['git', 'ssh', 'rsync', 'make', 'curl', 'jq', 'ansible'],
  },
  {
    name: 'overemployed',
    description: 'tmux, git, curl, vim, ripgrep, fzf, jq, htop, Python 3 with pip, and Node.js with npm',
    packages: {
      apt: [
        'tmux',
        'git',
        'curl',
        'ca-certificates',
        'vim',
        'ripgrep',
        'fzf',
        'jq',
        'htop',
        'python3',
        'python3-pip',
        'python3-venv',
        'nodejs',
        'npm',
      ],
      apk: ['tmux', 'git', 'curl', 'vim', 'ripgrep', 'fzf', 'jq', 'htop', 'python3', 'py3-pip', 'nodejs', 'npm'],
      dnf: [
        'tmux',
        'git',
        'curl',
        'vim-enhanced',
        'ripgrep',
        'fzf',
        'jq',
        'htop',
        'python3',
        'python3-pip',
        'nodejs',
        'nodejs-npm',
      ],
    },
    probe: ['tmux', 'git', 'curl', 'vim', 'rg', 'fzf', 'jq', 'htop', 'python3', 'pip3', 'node', 'npm'],
  },
];
