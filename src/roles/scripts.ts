import { type CatalogRole, PACKAGE_MANAGERS } from './catalog-role';

/**
 * What runs in a container, under the `sh` of Debian (dash), Alpine (busybox) or Fedora (bash). Nothing is ever put
 * into the texts: packages and programs come as arguments, names as variables.
 */

/** The image's own programs come first: one that has another Node.js somewhere has the role already. */
const COMMON = `
PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
cd /
`;

/**
 * Finds an attempt's processes by the variable that they all inherit: unlike a number in a file it cannot belong to
 * another process by now, and unlike a process group it holds for what a package manager starts in a session of its
 * own.
 */
const END_OTHERS = `
others() (
  set +f
  cd /proc
  for pid in [0-9]*; do
    mark=$( { tr '\\0' '\\n' <"$pid/environ" | grep '^BERTH_ROLE_ATTEMPT='; } 2>/dev/null)
    case $mark in
      '' | "BERTH_ROLE_ATTEMPT=$BERTH_ROLE_ATTEMPT") ;;
      *) echo "$pid" ;;
    esac
  done
)

end_others() {
  for signal in TERM KILL KILL; do
    pids=$(others)
    [ -n "$pids" ] || return 0
    kill -s "$signal" $pids 2>/dev/null
    for turn in 1 2 3 4 5; do
      [ -n "$(others)" ] || return 0
      sleep 1
    done
  done
}
`;

/**
 * There while an installation is not finished, and so also after one that was cut off: then programs may be in their
 * place that do not work yet. It goes with the container's writable layer.
 */
const UNFINISHED = `
unfinished=/var/lib/berth/unfinished-role
`;

/** Names the programs that are missing; succeeds where none is, and no installation was cut off. */
const PROBE_SCRIPT = `${COMMON}${UNFINISHED}
missing=0
[ -e "$unfinished" ] && missing=1
for program do
  command -v "$program" >/dev/null 2>&1 && continue
  missing=1
  echo "$program"
done
exit "$missing"
`;

/** Ends whatever attempts still run in the container. */
const END_SCRIPT = `${COMMON}${END_OTHERS}
end_others
`;

/**
 * Installs. Its stdout is for machines: the family that was found, the step that begins, and the progress as the
 * package manager reports it; its stderr is for people. (dnf has no other channel, so all that it says is on stdout.)
 *
 * It can be run again at any time: after one that was killed at any point, and beside one whose Berth died and that
 * still runs, which it ends first.
 */
const INSTALL_SCRIPT = `${COMMON}${END_OTHERS}${UNFINISHED}
exec 3>&1 1>&2 </dev/null
set -f
umask 022

apt= apk= dnf= into=
for word do
  case $word in
    --apt | --apk | --dnf) into=$word ;;
    *)
      case $into in
        --apt) apt="$apt $word" ;;
        --apk) apk="$apk $word" ;;
        --dnf) dnf="$dnf $word" ;;
      esac ;;
  esac
done

say() { echo "berth:$1" >&3; }
has() { command -v "$1" >/dev/null 2>&1; }
twice() { "$@" || { sleep 5; "$@"; }; }

install_with_apt() {
  DEBIAN_FRONTEND=noninteractive
  export DEBIAN_FRONTEND
  dpkg --configure -a
  say step:update
  # Not the end where it fails: with the lists of before most can be installed, and where not, apt says why.
  twice apt-get update -q -o APT::Status-Fd=3 -o APT::Update::Error-Mode=any -o Acquire::Retries=3
  say step:install
  apt-get install -q -y -f --no-install-recommends -o APT::Status-Fd=3 -o Dpkg::Use-Pty=0 \\
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \\
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" || return 1
  apt-get clean
}

install_with_apk() {
  say step:install
  twice apk add --wait 300 --progress-fd 3 --no-progress --no-cache "$@"
}

install_with_dnf() {
  program=$1
  shift
  say step:install
  twice "$program" -y --setopt=install_weak_deps=0 install "$@" >&3
}

end_others
{ mkdir -p "\${unfinished%/*}" && : >"$unfinished"; } || exit 1
if has apt-get; then
  [ -n "$apt" ] || exit 65
  say family:apt
  install_with_apt $apt || exit 1
elif has apk; then
  [ -n "$apk" ] || exit 65
  say family:apk
  install_with_apk $apk || exit 1
elif has dnf || has microdnf; then
  [ -n "$dnf" ] || exit 65
  say family:dnf
  if has dnf; then install_with_dnf dnf $dnf; else install_with_dnf microdnf $dnf; fi || exit 1
else
  exit 64
fi
rm -f "$unfinished"
`;

/** Exit codes of {@link INSTALL_SCRIPT} with a meaning of their own. */
export const INSTALL_EXIT = { noPackageManager: 64, noPackages: 65 } as const;

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
