import { MARKER } from '../programs/process-marker';

/**
 * A variable of programs that are started with a terminal: gVisor (20240729) does not show which processes have one.
 */
export const TERMINAL_MARKER = 'BERTH_TERMINAL';

/** The shell that runs the {@link SUPERVISOR}. */
export const SHELL = '/bin/sh';

/**
 * The command of the main process, without its arguments, and all that `ps` shows of it. The {@link SUPERVISOR} is in
 * the container's variable {@link MARKER}; every exec sets that variable to its own marker or removes it.
 */
export const LAUNCHER = [SHELL, '-c', `eval "$${MARKER}"`, 'berth-supervisor'] as const;

/** The mount point of the data volume, and the home directory in the sandbox. */
export const DATA_PATH = '/home/user';

/**
 * A start writes changed name servers here. The file is in the writable layer, so Docker's own restarts have them
 * too.
 */
export const NAME_SERVERS_FILE = 'var/lib/berth/name-servers';

/**
 * The main process of a sandbox. It runs under Docker's init and as root, whatever the image's own user is. Its
 * arguments are the image's user (uid or name, either with an optional group) and name servers. It is written in
 * plain `sh`, for Debian (dash), Alpine (busybox) and Fedora (bash). It does three things and then waits:
 *
 * - Names: Docker's own name server (127.0.0.11) relies on iptables rules in the container's namespace, which
 *   gVisor's own network stack does not see (https://github.com/google/gvisor/issues/7469). So `/etc/resolv.conf`
 *   names real ones.
 * - Home: Docker creates a volume that belongs to root. This process gives it to the image's user, unless it belongs
 *   to another user already.
 * - The end: without this process, SIGTERM would reach the main process alone, and everything started by an exec
 *   would be killed when that ends. So this process sends SIGTERM to all others (and SIGCONT, as a suspended process
 *   would not see SIGTERM), and ends once they have; Docker kills the rest after the grace period. The shells of
 *   terminals ignore SIGTERM, so they get SIGHUP too: they have a terminal, and no parent in here.
 *
 * `kill` and `wait` are the shell's builtins, because there may be no process left to fork. dash does not accept
 * `kill -s TERM -1`.
 */
export const SUPERVISOR = `
unset ${MARKER}
user=$1
shift
PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

hang_up() {
  for dir in /proc/[0-9]*; do
    IFS= read -r stat <"$dir/stat" || continue
    set -- \${stat##*) }
    [ "$2" = 0 ] || continue
    if [ "$5" != 0 ]; then kill -HUP "\${dir#/proc/}"; continue; fi
    while IFS= read -r line || [ -n "$line" ]; do
      # Not as one word: this text itself is in the environment of the init, and of what Docker alone has started.
      case $line in *${TERMINAL_MARKER}''=*) kill -HUP "\${dir#/proc/}"; break ;; esac
    done <"$dir/environ"
  done 2>/dev/null
}

end() {
  trap '' TERM
  kill -TERM -1
  hang_up
  kill -CONT -1 2>/dev/null
  wait
  # Beside the init and this process.
  while set -- /proc/[0-9]*; [ $# -gt 2 ]; do sleep 0.05 || sleep 1; done 2>/dev/null
  exit 0
}
trap end TERM

if [ -r /${NAME_SERVERS_FILE} ]; then
  set --
  while read -r server; do set -- "$@" "$server"; done </${NAME_SERVERS_FILE}
fi
[ $# -eq 0 ] || { for server do echo "nameserver $server"; done >/etc/resolv.conf; }

own_home() {
  case $1 in
    *:*) ;;
    *)
      while IFS=: read -r name word uid gid rest; do
        case $1 in "$name" | "$uid") set -- "$uid:$gid"; break ;; esac
      done </etc/passwd ;;
  esac
  chown "$1" ${DATA_PATH}
}
[ -z "$user" ] || [ ! -O ${DATA_PATH} ] || own_home "$user"

# A sleep that somebody kills is started again; what cannot be started ends the sandbox.
for idle in 'sleep 2147483647' 'tail -f /dev/null'; do
  while $idle & wait $!; [ $? -gt 128 ]; do :; done
done
exit 127
`;
