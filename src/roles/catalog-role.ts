/** How packages are named where: by the package manager of Debian and Ubuntu, of Alpine, and of Fedora. */
export const PACKAGE_MANAGERS = ['apt', 'apk', 'dnf'] as const;
export type PackageManager = (typeof PACKAGE_MANAGERS)[number];

/** What a container is for: the programs that are installed in it beside what its image has. */
export interface CatalogRole {
  /** What clients write. */
  readonly name: string;
  /** For people, in a sentence. */
  readonly description: string;
  /** All empty: there is nothing to install. */
  readonly packages: Readonly<Record<PackageManager, readonly string[]>>;
  /** Programs by which it is known that the role is there. */
  readonly probe: readonly string[];
}

/** The role of a container that is as its image made it: always offered, and what no role means. */
export const BAREBONE: CatalogRole = {
  name: 'barebone',
  description: 'Nothing beside what the image has',
  packages: { apt: [], apk: [], dnf: [] },
  probe: [],
};

/** The catalogue beside `barebone`, unless the operator's `ROLES_FILE` replaces it. */
export const DEFAULT_ROLES: readonly CatalogRole[] = [
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
    packages: { apt: ['golang-go', 'git'], apk: ['go', 'git'], dnf: ['golang', 'git'] },
    probe: ['go', 'git'],
  },
  {
    name: 'rust',
    description: 'Rust with cargo and a linker',
    packages: { apt: ['rustc', 'cargo'], apk: ['rust', 'cargo'], dnf: ['rust', 'cargo'] },
    probe: ['rustc', 'cargo'],
  },
  {
    name: 'devops',
    description: 'git, ssh, rsync, make, curl, jq and Ansible',
    packages: {
      apt: ['git', 'openssh-client', 'rsync', 'make', 'curl', 'jq', 'ansible-core'],
      apk: ['git', 'openssh-client', 'rsync', 'make', 'curl', 'jq', 'ansible-core'],
      dnf: ['git', 'openssh-clients', 'rsync', 'make', 'curl', 'jq', 'ansible-core'],
    },
    probe: ['git', 'ssh', 'rsync', 'make', 'curl', 'jq', 'ansible'],
  },
];
