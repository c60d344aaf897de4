import { type CatalogRole, PACKAGE_MANAGERS } from './catalog-role';

/**
 * Scripts that run in a container, under the `sh` of Debian (dash), Alpine (busybox) or Fedora (bash). No data is put
 * into their texts: packages and programs are passed as arguments.
 */

/** The image's own PATH comes first: an image that has Node.js in another place has the role already. */
const COMMON = `
PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
cd /
`;

/**
 * A file that exists while an installation is unfinished, so also after an interrupted one: then programs may be
 * present that do not work yet. It is removed with the container's writable layer.
 */
const UNFINISHED = `
unfinished=/var/lib/berth/unfinished-role
`;

/** Prints the missing programs. Succeeds if none is missing and no installation was interrupted. */
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

/**
 * Installs packages. Its stdout is for machines: the package manager that was found, the step that begins, and the
 * progress as the package manager reports it. Its stderr is for people. (dnf has no other channel, so all of its
 * output is on stdout.)
 *
 * It can be run again after an attempt that was killed at any point.
 */
const INSTALL_SCRIPT = `${COMMON}${UNFINISHED}
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

/** HOME is not the data volume, which is the container's own home. LC_ALL makes the output what the parsers know. */
const ENVIRONMENT = { HOME: '/root', LC_ALL: 'C', TERM: 'dumb' };

/** Succeeds if all programs of the role's `probe` are there and no installation was interrupted. */
export function probeCommand(role: CatalogRole): RoleCommand {
  return {
    command: ['sh', '-c', PROBE_SCRIPT, 'berth-role-probe', ...role.probe],
    env: ENVIRONMENT,
  };
}

/** Installs the role's packages. Two installations must not run at once. */
export function installCommand(role: CatalogRole): RoleCommand {
  const packages = PACKAGE_MANAGERS.flatMap((manager) => [`--${manager}`, ...role.packages[manager]]);
  return {
    command: ['sh', '-c', INSTALL_SCRIPT, 'berth-role-install', ...packages],
    env: ENVIRONMENT,
  };
}
