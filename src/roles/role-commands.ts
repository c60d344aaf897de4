import { type CatalogRole, PACKAGE_MANAGERS } from './catalog-role';
import { END_SCRIPT, INSTALL_SCRIPT, PROBE_SCRIPT } from './scripts';

/** A command for the engine, to be run as root. */
export interface RoleCommand {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Not the data volume, which is the container's own home; and words that the parsers know. */
const ENVIRONMENT = { HOME: '/root', LC_ALL: 'C', TERM: 'dumb' };

/** Succeeds where everything is there that the role is known by. @param attempt a name that no other attempt has */
export function probeCommand(role: CatalogRole, attempt: string): RoleCommand {
  return {
    command: ['sh', '-c', PROBE_SCRIPT, 'berth-role-probe', ...role.probe],
    env: { ...ENVIRONMENT, BERTH_ROLE_ATTEMPT: attempt },
  };
}

/** @param attempt a name that no other attempt has */
export function installCommand(role: CatalogRole, attempt: string): RoleCommand {
  const packages = PACKAGE_MANAGERS.flatMap((manager) => [`--${manager}`, ...role.packages[manager]]);
  return {
    command: ['sh', '-c', INSTALL_SCRIPT, 'berth-role-install', ...packages],
    env: { ...ENVIRONMENT, BERTH_ROLE_ATTEMPT: attempt },
  };
}

/** Ends all attempts that run in the container. */
export function endCommand(): RoleCommand {
  return { command: ['sh', '-c', END_SCRIPT, 'berth-role-end'], env: { ...ENVIRONMENT, BERTH_ROLE_ATTEMPT: '' } };
}
