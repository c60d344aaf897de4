import { SESSION_VARIABLE as MARKER } from '../supervisor/supervisor-paths';

/**
 * Exit codes of scripts for the failures that they detect themselves. Other failures are recognized by the messages of
 * the programs.
 */
export const EXIT = {
  exists: 11,
  isDirectory: 12,
  notDirectory: 13,
  notFile: 14,
  protected: 15,
  incomplete: 16,
  changed: 17,
  locked: 18,
  toolsMissing: 97,
} as const;

/** Prefix of a temporary file, in the target's directory, that an upload is written to until it is complete. */
export const UPLOAD = '.berth-upload-';
/** Prefix of a temporary directory, in the target directory, that an archive is unpacked into until it is complete. */
export const UNPACKING = '.berth-unpacking-';

/**
 * The format in which `stat` describes a file: type and permissions, size, and time of modification in seconds since
 * 1970.
 */
const FORM = '%A %s %Y';

/** The first line of every script; a shell that does not print it is no shell. */
export const BEGUN = 'begun';

/** What a script prints if nothing is at its path. */
export const NOTHING = 'nothing';

/** Block size for reading and writing files, in bytes. */
const BLOCK = 64 * 1024;

/** The parts of the trailer of a file whose length is not known in advance. */
const TOKEN_BYTES = 32;
const LENGTH_BYTES = 16;
const END_BYTES = TOKEN_BYTES + LENGTH_BYTES;

/** The trailer that follows a file of `bytes` bytes, for {@link WRITE_FILE}. */
export function endOfFile(token: string, bytes: number): string {
  return String(bytes).padStart(LENGTH_BYTES) + token;
}

/**
 * The beginning of every script, for any `sh` (dash, bash, busybox). Sets the locale, so that programs print English
 * messages. Decodes paths, because Docker's arguments cannot hold bytes that are not UTF-8.
 */
const PRELUDE = `
echo ${BEGUN}
LC_ALL=C; export LC_ALL
PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; export PATH
nl='
'
need() {
  for tool; do command -v "$tool" >/dev/null 2>&1 || exit ${String(EXIT.toolsMissing)}; done
}
need printf stat
# Most paths need no subshell, which is a process. A shell cuts off newlines at an output's end.
decode() {
  decoded=$1
  case $1 in
    *\\\\*)
      decoded=$(printf '%b.' "$1")
      decoded=\${decoded%.}
      ;;
  esac
}
occupied() {
  [ -e "$1" ] || [ -L "$1" ]
}
# The parent directory of what is not the root.
parent() {
  parent=\${1%/*}
  [ -n "$parent" ] || parent=/
}
make_parent() {
  parent "$1"
  [ -d "$parent" ] || mkdir -p "$parent" || exit 1
}
# Refuses what the container cannot lose: its root, and what its data are in. Without -P a shell would resolve \`..\` by
# the path's names, and not by where links lead, as the kernel does when the path is used.
spare() {
  parent "$1"
  real=$(cd -P "$parent" && pwd -P && printf .) || exit 1
  real=\${real%"$nl."}
  real=\${real%/}/\${1##*/}
  case $2/ in "\${real%/}"/*) exit ${String(EXIT.protected)} ;; esac
}
`;

/**
 * Deletes the temporary files and directories of killed writers: files after 15 minutes without a change, directories
 * after 24 hours, which no running writer reaches. Argument: the directory.
 */
const SWEEP = `
sweep() {
  for left in "$1"/${UPLOAD}*; do
    [ -e "$left" ] || break
    find "$1/" ! -path "$1/" -prune -name '${UPLOAD}*' -mmin +15 -exec rm -f {} + 2>/dev/null
    break
  done
  for left in "$1"/${UNPACKING}*; do
    [ -e "$left" ] || break
    find "$1/" ! -path "$1/" -prune -name '${UNPACKING}*' -mmin +1440 -exec rm -rf {} + 2>/dev/null
    break
  done
}
`;

/**
 * For scripts that ask the server before they change a file, and of which only one at a time may do so. The file must
 * not have changed between the question and the moment when the script has the lock. The lock is a symbolic link to
 * `/proc/PID` of its holder: it is made atomically, and is void once the holder has ended. `flock` is missing in some
 * images.
 */
const CONDITION = `
look() {
  state=$(stat -L -c '${FORM} %y/%i' "$1" 2>/dev/null) || state=${NOTHING}
}
# Arguments: the path, and what to say before the state of what is there.
ask() {
  need ln mkdir readlink rm rmdir sleep
  look "$1"
  asked=$state
  printf '%s%s\\n' "$2" "\${asked%/*}"
  IFS= read -r verdict || exit 1
  [ "$verdict" = go ] || exit 1
}
locked=
lock=/tmp/.berth-files
[ ! -d /dev/shm ] || lock=/dev/shm/.berth-files
# Argument: the path.
lock() {
  turns=200
  until ln -sn "/proc/$$" "$lock" 2>/dev/null; do
    holder=$(readlink "$lock")
    dead=$lock-\${holder##*/}
    # Of those who find its holder dead, one removes it, if it is still that one's.
    if [ -n "$holder" ] && [ ! -d "$holder" ] && mkdir "$dead" 2>/dev/null; then
      [ "$(readlink "$lock")" != "$holder" ] || rm -f "$lock"
      rmdir "$dead"
    else
      turns=$((turns - 1))
      [ "$turns" -gt 0 ] || exit ${String(EXIT.locked)}
      sleep 0.05 2>/dev/null || sleep 1
    fi
  done
  locked=1
  look "$1"
  [ "$state" = "$asked" ] || exit ${String(EXIT.changed)}
}
unlock() {
  [ -z "$locked" ] || rm -f "$lock"
}
`;

/**
 * The largest small file in bytes: {@link READ_FILE} prints it without being asked. Less than a script may print while
 * its output waits, or after its caller has lost interest.
 */
export const SMALL = 16 * 1024;

/**
 * Argument: the path. Prints a description of the file, and then the file if it is {@link SMALL} and not empty. If not,
 * reads from its input which bytes are wanted ({@link READING}), prints them, and waits for the end of its input.
 * Otherwise Docker (26.1) would report the end of no other program until the output of this ended one has been read.
 */
export const READ_FILE = `${PRELUDE}
need dd head
decode "$1"; path=$decoded
# To open a pipe would be to wait for who writes to it.
if [ ! -f "$path" ]; then
  [ ! -d "$path" ] || exit ${String(EXIT.isDirectory)}
  stat -L "$path" >/dev/null || exit 1
  exit ${String(EXIT.notFile)}
fi
exec 3<"$path" || exit 1
# Of what is open, which may not be what is at the path by now.
info=$(stat -L -c '${FORM} %y' /proc/self/fd/3 2>/dev/null) || info=$(stat -L -c '${FORM} %y' "$path") || exit 1
case $info in
  d*) exit ${String(EXIT.isDirectory)} ;;
  -*) ;;
  *) exit ${String(EXIT.notFile)} ;;
esac
printf '%s\\n' "$info"
size=\${info#* }
size=\${size%% *}
if [ "$size" -gt 0 ] && [ "$size" -le ${String(SMALL)} ]; then exec dd bs="$size" count=1 <&3 2>/dev/null; fi
IFS=' ' read -r how offset blocks rest || exit 0
case $how in
  bytes)
    [ "$offset" = 0 ] || dd bs=1 skip="$offset" count=0 <&3 2>/dev/null || exit 1
    [ "$blocks" = 0 ] || dd bs=${String(BLOCK)} count="$blocks" <&3 2>/dev/null || exit 1
    [ "$rest" = 0 ] || dd bs="$rest" count=1 <&3 2>/dev/null || exit 1
    # Without this, the server would wait a minute for the rest of a file that has become shorter.
    now=$(stat -L -c %s /proc/self/fd/3 2>/dev/null) || now=$size
    [ "$now" -ge $((offset + blocks * ${String(BLOCK)} + rest)) ] || exit ${String(EXIT.changed)}
    ;;
  most) head -c "$offset" <&3 || exit 1 ;;
esac
IFS= read -r end
exit 0
`;

/** The line that tells {@link READ_FILE} what to print. */
export const READING = {
  /** A range that the file has. Read without `head`, because busybox's copies byte by byte. */
  bytes: (offset: number, length: number): string =>
    `bytes ${String(offset)} ${String(Math.floor(length / BLOCK))} ${String(length % BLOCK)}\n`,
  /**
   * At most so many bytes of a file that the kernel generates, whose size is unknown and which comes in pieces of any
   * size.
   */
  most: (bytes: number): string => `most ${String(bytes)}\n`,
};

/**
 * Arguments, of which the last ones may be missing: the path; its size in bytes, or nothing; `conditional` if it has to
 * ask first, or nothing; the file's name in case the path is a directory, or nothing; a token of 32 characters if the
 * size is not given. Its input is the file. If the size is not given, {@link endOfFile} has to follow, and without it
 * the file is incomplete. Prints whether the file was created or replaced, and its description. Its marker names the
 * temporary file.
 */
export const WRITE_FILE = `${PRELUDE}${SWEEP}${CONDITION}
need chmod chown dd find head mkdir mv readlink rm tail
decode "$1"; path=$decoded
place=file
if [ -n "$4" ] && [ -d "$path" ]; then
  decode "$4"; path=\${path%/}/$decoded
  place=directory
fi
if [ -L "$path" ]; then
  path=$(readlink -f "$path" && printf .) || exit 1
  path=\${path%"$nl."}
fi
[ ! -d "$path" ] || exit ${String(EXIT.isDirectory)}
[ ! -e "$path" ] || [ -f "$path" ] || exit ${String(EXIT.notFile)}
condition=$3
[ -z "$condition" ] || ask "$path" "$place "
make_parent "$path"
sweep "\${parent%/}"
part=\${parent%/}/${UPLOAD}$${MARKER}
trap 'rm -f "$part"; unlock' EXIT
trap 'exit 143' HUP INT TERM
if [ "\${2:-${String(SMALL + 1)}}" -le ${String(SMALL)} ]; then
  # Does not wait for the end of the input, which takes Docker several milliseconds to pass on.
  head -c "$2" >"$part" || exit 1
else
  # What came at once is written at once: busybox's cat copies four kilobytes at a time, and its head single bytes.
  dd bs=${String(BLOCK)} >"$part" || exit 1
fi
size=$2
if [ -z "$size" ]; then
  end=$(tail -c ${String(END_BYTES)} "$part") || exit 1
  size=\${end%"$5"}
  [ "$size" != "$end" ] || exit ${String(EXIT.incomplete)}
  size=$((size))
  dd bs=1 seek="$size" count=0 of="$part" </dev/null 2>/dev/null || exit 1
fi
became=created
set -- "$part"
if [ -f "$path" ]; then
  became=replaced
  set -- "$part" "$path"
fi
# Of each its owner, its mode, and what it is.
infos=$(stat -c '%u:%g %a ${FORM}' "$@") || exit 1
set -f
set -- $infos
[ "$4" = "$size" ] || exit ${String(EXIT.incomplete)}
if [ "$became" = replaced ] && [ "$1 $2" != "$6 $7" ]; then
  chown "$6" "$part" 2>/dev/null
  chmod "$7" "$part" || exit 1
  infos=$(stat -c '%u:%g %a ${FORM}' "$part") || exit 1
  set -- $infos
fi
[ -z "$condition" ] || lock "$path"
mv -f "$part" "$path" && [ ! -e "$part" ] || exit 1
unlock
trap - EXIT
printf '%s %s %s %s %s\\n' "$became" "$place" "$3" "$4" "$5"
`;

/** Enters the directory that `$1` names, which must be readable. @param purpose begins the message if it is not */
const enterDirectory = (purpose: string): string =>
  `decode "$1"; path=$decoded
info=$(stat -L -c %A "$path") || exit 1
case $info in d*) ;; *) exit ${String(EXIT.notDirectory)} ;; esac
cd -P "$path" || exit 1
[ -r . ] || { echo '${purpose}: Permission denied' >&2; exit 1; }`;

/**
 * Argument: the path. Prints the entries of the directory. Each ends with a slash and a newline, because no name
 * contains a slash.
 */
export const LIST = `${PRELUDE}
need find
${enterDirectory('list')}
find . ! -name . -prune -exec stat -c '${FORM} %n/' {} +
exit 0
`;

/** Argument: the path. Prints a description of the new directory. */
export const MAKE_DIRECTORY = `${PRELUDE}
need mkdir
decode "$1"; path=$decoded
occupied "$path" && exit ${String(EXIT.exists)}
make_parent "$path"
mkdir "$path" || exit 1
stat -c '${FORM}' "$path"
`;

/** Arguments: the source, the target, and the data directory. Prints a description of the moved file. */
export const MOVE = `${PRELUDE}
need mkdir mv
decode "$1"; from=$decoded
decode "$2"; to=$decoded
stat -c %A "$from" >/dev/null || exit 1
spare "$from" "$3"
occupied "$to" && exit ${String(EXIT.exists)}
make_parent "$to"
case $to in
  */../*)
    # The way to the target may lead through the source.
    real=$(cd -P "$parent" && pwd -P && printf .) || exit 1
    real=\${real%"$nl."}
    to=\${real%/}/\${to##*/}
    ;;
esac
# Without -T, what appears there meanwhile, if it is a directory, would be moved into; not every mv has it.
if words=$(mv -n -T "$from" "$to" 2>&1); then :
else
  case $words in
    *'invalid option'* | *'unrecognized option'*) mv -n "$from" "$to" || exit 1 ;;
    *) printf '%s\\n' "$words" >&2; exit 1 ;;
  esac
fi
occupied "$from" && exit ${String(EXIT.exists)}
stat -c '${FORM}' "$to"
`;

/**
 * Arguments: the path; `recursive` to delete a directory with its contents; the data directory; `conditional` if it
 * has to ask first.
 */
export const REMOVE = `${PRELUDE}${CONDITION}
need rm rmdir
decode "$1"; path=$decoded
info=$(stat -c %A "$path") || exit 1
spare "$path" "$3"
if [ -n "$4" ]; then
  ask "$path" ''
  trap unlock EXIT
  trap 'exit 143' HUP INT TERM
  lock "$path"
fi
case $info$2 in
  d*recursive) rm -rf "$path" || exit 1 ;;
  d*) rmdir "$path" || exit 1 ;;
  *) rm -f "$path" || exit 1 ;;
esac
`;

/**
 * Arguments: the path, and a token. Prints the line `ready`, the archive, the token, and tar's exit code in three
 * digits. Then waits for the end of its input, as {@link READ_FILE} does.
 */
export const PACK = `${PRELUDE}
need tar
${enterDirectory('archive')}
echo ready
tar -cf - .
printf '%s%03d' "$2" $?
IFS= read -r end
exit 0
`;

/**
 * Arguments: the path; a token, which is the name of the archive's last file, and without which the archive is
 * incomplete. Its input is the archive. Unpacks it into a temporary directory, which its marker names, and then links
 * the contents to their places.
 */
export const UNPACK = `${PRELUDE}${SWEEP}
need chmod cp find mkdir rm tar
decode "$1"; path=$decoded
mkdir -p "$path" || exit 1
sweep "\${path%/}"
aside=\${path%/}/${UNPACKING}$${MARKER}
mkdir -m 700 "$aside" || exit 1
trap 'cd /; chmod -R u+rwX "$aside" 2>/dev/null; rm -rf "$aside"' EXIT
trap 'exit 143' HUP INT TERM
cd -P "$aside" || exit 1
tar -xof - || exit 1
rm "./$2" 2>/dev/null || exit ${String(EXIT.incomplete)}
find . ! -name . -prune -exec sh -c 'into=$1; shift; cp -alf "$@" "$into"' cp "\${path%/}/" {} + || exit 1
printf 'unpacked\\n'
`;

/** The scripts of short calls, which sessions that are opened ahead have in advance. */
export const FREQUENT: readonly string[] = [READ_FILE, WRITE_FILE, LIST, MAKE_DIRECTORY, MOVE, REMOVE];

/** The size of a block that {@link FILE_SHELL} reads and writes, in bytes. */
export const SHELL_BLOCK = BLOCK;

/**
 * Arguments: a token, and the data directory. Reads requests, one a line: a verb and its arguments, separated by
 * spaces, `-` for one that is absent. Answers each with its output, the token, and the exit code in three digits. The
 * first answer, without a request, is the working directory.
 *
 * `read` and `write` begin at an offset in blocks, or in bytes, which takes one more program. `write` is followed by
 * the bytes. If they cannot all be written, the script exits: what is left of them must not be taken for requests. No
 * program may read the script's input, except for those that write.
 *
 * Processes are what takes time under gVisor. So subshells are left to requests that change the directory, or call what
 * exits; a redirection that fails ends a shell only if it is one of a special builtin such as `:`, which `true` is not.
 */
export const FILE_SHELL = `${PRELUDE}
umask 022
token=$1
data=$2
form='%f %s %u %g %X %Y'
answer() {
  printf '%s%03d' "$token" "$1"
}
# Of what is to be opened: to open a pipe would be to wait for its other end.
file_only() {
  [ ! -d "$path" ] || return ${String(EXIT.isDirectory)}
  [ ! -e "$path" ] || [ -f "$path" ] || return ${String(EXIT.notFile)}
}
create() {
  file_only || return
  occupied "$path" && made= || made=1
  case $two in
    refuse)
      [ -n "$made" ] || return ${String(EXIT.exists)}
      set -C
      true >"$path"
      made=$?
      set +C
      [ "$made" = 0 ] || return 1
      ;;
    empty) true >"$path" || return 1 ;;
    *) true >>"$path" || return 1 ;;
  esac
  [ -z "$made" ] || [ "$three" = - ] || chmod "$three" "$path"
}
read_file() {
  file_only || return
  if [ "$three" = 0 ]; then
    dd bs=${String(BLOCK)} skip="$two" count="$four" <"$path" 2>/dev/null
  else
    (
      exec 3<"$path"
      dd bs=1 skip="$three" count=0 <&3 2>/dev/null || exit 0
      dd bs=${String(BLOCK)} count="$four" <&3 2>/dev/null
    )
  fi
}
put() {
  file_only || return
  case $three-$four-$five in
    0-*-0) dd bs=${String(BLOCK)} seek="$two" count="$four" iflag=fullblock conv=notrunc 1<>"$path" ;;
    0-0-*) dd bs="$five" count=1 iflag=fullblock conv=notrunc 1<>"$path" ;;
    *)
      (
        exec 3<>"$path"
        [ "$three" = 0 ] || dd bs=1 seek="$three" count=0 conv=notrunc </dev/null >&3 2>/dev/null || exit 1
        [ "$four" = 0 ] || dd bs=${String(BLOCK)} seek="$two" count="$four" iflag=fullblock conv=notrunc >&3 || exit 1
        [ "$five" = 0 ] || dd bs="$five" count=1 iflag=fullblock conv=notrunc >&3 || exit 1
      )
      ;;
  esac
}
list() {
  need find
  set -- "$one"
  ${enterDirectory('list')}
  find . ! -name . -prune -exec stat -c "$form %n/" {} +
}
rename() {
  stat -c %A "$path" >/dev/null || exit 1
  spare "$path" "$data"
  decode "$two"; to=$decoded
  if occupied "$to"; then
    [ "$three" = replace ] || exit ${String(EXIT.exists)}
    if [ -L "$to" ]; then
      # Otherwise mv would move into the directory that the link leads to.
      rm "$to" || exit 1
    elif [ -d "$to" ]; then
      [ -d "$path" ] || exit ${String(EXIT.isDirectory)}
      rmdir "$to" || exit 1
    fi
  fi
  mv -f "$path" "$to"
}
resolve() {
  if [ -d "$path" ]; then
    cd -P "$path" && pwd -P
  else
    parent "$path"
    real=$(cd -P "$parent" 2>/dev/null && pwd -P && printf .) || { printf '%s\\n' "$path"; return; }
    real=\${real%"$nl."}
    printf '%s/%s\\n' "\${real%/}" "\${path##*/}"
  fi
}
serve() {
  case $verb in
    stat) stat -L -c "$form" "$path" ;;
    lstat) stat -c "$form" "$path" ;;
    list) (list) ;;
    create) create ;;
    read) read_file ;;
    resize)
      stat -L -c %s "$path" >/dev/null && file_only && dd bs=1 seek="$two" count=0 of="$path"
      ;;
    chmod) chmod "$two" "$path" ;;
    chown) chown "$two" "$path" ;;
    times)
      touch -a -d "@$two" "$path" 2>/dev/null
      touch -m -d "@$three" "$path" 2>/dev/null || touch -d "@$three" "$path"
      ;;
    mkdir)
      if occupied "$path"; then return ${String(EXIT.exists)}; fi
      if [ "$two" = - ]; then mkdir "$path"; else mkdir -m "$two" "$path"; fi
      ;;
    rmdir) rmdir "$path" ;;
    remove)
      [ ! -d "$path" ] || [ -L "$path" ] || return ${String(EXIT.isDirectory)}
      rm "$path"
      ;;
    rename) (rename) ;;
    readlink) readlink "$path" ;;
    symlink | link)
      if occupied "$path"; then return ${String(EXIT.exists)}; fi
      decode "$two"
      if [ "$verb" = link ]; then ln "$decoded" "$path"; else ln -s -- "$decoded" "$path"; fi
      ;;
    resolve) (resolve) ;;
    space) stat -f -c '%S %b %f %a %c %d %l' "$path" ;;
    *) return ${String(EXIT.toolsMissing)} ;;
  esac
}
pwd -P
answer 0
while IFS=' ' read -r verb one two three four five; do
  decode "$one"; path=$decoded
  if [ "$verb" = write ]; then
    put 2>&1 || { answer $?; exit 0; }
    answer 0
  else
    serve </dev/null 2>&1
    answer $?
  fi
done
`;
