/** Where the volume with the supervisor's program is mounted in each sandbox, read-only. */
export const SUPERVISOR_PATH = '/.berth';
/** The program. */
const SUPERVISOR_PROGRAM = `${SUPERVISOR_PATH}/supervisor`;
/** The command of a sandbox's first process; its arguments are the image's user and name servers. */
export const INIT = [SUPERVISOR_PROGRAM, 'init'] as const;
/** Before the user: the home keeps the owner that copied data gives it, instead of being given to the user. */
export const KEEP_HOME = '-keep-home';
/** The command that connects its stdin and stdout to the supervisor. */
export const CONNECT = [SUPERVISOR_PROGRAM, 'connect'] as const;

/** The mount point of the data volume, and the home directory in the sandbox. */
export const DATA_PATH = '/home/user';

/**
 * A start writes changed name servers here. The file is in the writable layer, so Docker's own restarts have them
 * too.
 */
export const NAME_SERVERS_FILE = 'var/lib/berth/name-servers';

/** The variable by which the supervisor finds the descendants of a program; it has the program's id. */
export const SESSION_VARIABLE = 'BERTH_SESSION';
