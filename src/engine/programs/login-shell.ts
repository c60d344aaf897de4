/** The name of Berth's own scripts, which `ps` shows. */
const SCRIPTS_NAME = 'berth';

/**
 * Becomes a login shell, as people expect in a terminal: bash if the image has it. Some versions of `sh` do not know
 * `-l` (dash before 0.5.11), which takes a process to find out; that of busybox always does. Without a locale, bash
 * treats the bytes of a non-ASCII character as separate characters.
 */
const LOGIN_SCRIPT = `
: "\${LANG:=C.UTF-8}"
export LANG
[ ! -x /bin/bash ] || exec /bin/bash -l
if [ /bin/sh -ef /bin/busybox ] 2>/dev/null; then exec /bin/sh -l; fi
! /bin/sh -l -c : 2>/dev/null || exec /bin/sh -l
exec /bin/sh
`;

/** The command of a terminal. */
export const LOGIN_SHELL = ['/bin/sh', '-c', LOGIN_SCRIPT, SCRIPTS_NAME] as const;
