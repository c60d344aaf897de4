/** How a script ends where it knows why by itself; what else fails is known by its programs' words. */
export const EXIT = {
  exists: 11,
  isDirectory: 12,
  notDirectory: 13,
  notFile: 14,
  protected: 15,
  incomplete: 16,
  toolsMissing: 97,
} as const;

/** What files are written as until they are whole, beside where they belong. */
export const UPLOAD = '.berth-upload-';
/** What archives are unpacked into until they are whole, in the directory where they belong. */
export const UNPACKING = '.berth-unpacking-';

/** What a description of a file is made of. */
const FORM = '%A %s %Y';

/**
 * Of every script, for sh of any kind (dash, bash, busybox): the words of programs are in English, and paths are
 * decoded, as no argument of Docker's can hold what is not UTF-8.
 */
const PRELUDE = `
LC_ALL=C; export LC_ALL
PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; export PATH
nl='
'
need() {
  for tool; do command -v "$tool" >/dev/null 2>&1 || exit ${String(EXIT.toolsMissing)}; done
}
need printf stat
# A shell cuts off newlines at an output's end.
decode() {
  decoded=$(printf '%b.' "$1")
  decoded=\${decoded%.}
}
occupied() {
  [ -e "$1" ] || [ -L "$1" ]
}
# The parent directory of what is not the root.
parent() {
  parent=\${1%/*}
  [ -n "$parent" ] || parent=/
}
# Refuses what the container cannot lose: its root, and what its data are in.
spare() {
  parent "$1"
  real=$(cd "$parent" && pwd -P && printf .) || exit 1
  real=\${real%"$nl."}
  real=\${real%/}/\${1##*/}
  case $2/ in "\${real%/}"/*) exit ${String(EXIT.protected)} ;; esac
}
`;

/** Sweeps what writers left that were killed, once it cannot be a running one's. Argument: the directory. */
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
 * Argument: the path. Prints what the file is, reads an offset and a length, prints those bytes, and then waits for the
 * end of its input: Docker (26.1) reports the end of no other program while the output of an ended one is not read.
 */
export const READ_FILE = `${PRELUDE}
need dd head
decode "$1"; path=$decoded
info=$(stat -L -c '${FORM} %y' "$path") || exit 1
case $info in
  d*) exit ${String(EXIT.isDirectory)} ;;
  -*) ;;
  *) exit ${String(EXIT.notFile)} ;;
esac
exec 3<"$path" || exit 1
info=$(stat -L -c '${FORM} %y' "$path") || exit 1
printf '%s\\n' "$info"
IFS=' ' read -r offset length || exit 0
[ "$offset" = 0 ] || dd bs=1 skip="$offset" count=0 <&3 2>/dev/null || exit 1
head -c "$length" <&3 || exit 1
IFS= read -r end
exit 0
`;

/**
 * Arguments: the path; a name for it if the path is a directory, or nothing; a token of 32 characters; an id. Its input
 * is the file and then the token: without it, the file is not whole. Prints what has become of it.
 */
export const WRITE_FILE = `${PRELUDE}${SWEEP}
need cat chmod chown dd find mkdir mv readlink rm tail
decode "$1"; path=$decoded
place=file
if [ -n "$2" ] && [ -d "$path" ]; then
  decode "$2"; path=\${path%/}/$decoded
  place=directory
fi
if [ -L "$path" ]; then
  path=$(readlink -f "$path" && printf .) || exit 1
  path=\${path%"$nl."}
fi
[ ! -d "$path" ] || exit ${String(EXIT.isDirectory)}
[ ! -e "$path" ] || [ -f "$path" ] || exit ${String(EXIT.notFile)}
parent "$path"
mkdir -p "$parent" || exit 1
sweep "\${parent%/}"
part=\${parent%/}/${UPLOAD}$4
trap 'rm -f "$part"' EXIT
trap 'exit 143' HUP INT TERM
cat >"$part" || exit 1
size=$(stat -c %s "$part") || exit 1
size=$((size - 32))
[ "$size" -ge 0 ] && [ "$(tail -c 32 "$part")" = "$3" ] || exit ${String(EXIT.incomplete)}
dd bs=1 seek="$size" count=0 of="$part" </dev/null 2>/dev/null || exit 1
became=created
if [ -f "$path" ]; then
  became=replaced
  chown "$(stat -c %u:%g "$path")" "$part" 2>/dev/null
  chmod "$(stat -c %a "$path")" "$part" || exit 1
fi
mv -f "$part" "$path" || exit 1
trap - EXIT
info=$(stat -c '${FORM}' "$path") || exit 1
printf '%s %s %s\\n' "$became" "$place" "$info"
`;

/** Argument: the path. Prints the entries of the directory; a slash and a newline end each, as no name has a slash. */
export const LIST = `${PRELUDE}
need find
decode "$1"; path=$decoded
info=$(stat -L -c %A "$path") || exit 1
case $info in d*) ;; *) exit ${String(EXIT.notDirectory)} ;; esac
cd "$path" || exit 1
[ -r . ] || { echo 'list: Permission denied' >&2; exit 1; }
find . ! -name . -prune -exec stat -c '${FORM} %n/' {} +
exit 0
`;

/** Argument: the path. Prints what the directory is. */
export const MAKE_DIRECTORY = `${PRELUDE}
need mkdir
decode "$1"; path=$decoded
occupied "$path" && exit ${String(EXIT.exists)}
parent "$path"
mkdir -p "$parent" || exit 1
mkdir "$path" || exit 1
stat -c '${FORM}' "$path"
`;

/** Arguments: from where, to where, and where the data are. Prints what has been moved. */
export const MOVE = `${PRELUDE}
need mkdir mv
decode "$1"; from=$decoded
decode "$2"; to=$decoded
stat -c %A "$from" >/dev/null || exit 1
spare "$from" "$3"
occupied "$to" && exit ${String(EXIT.exists)}
parent "$to"
mkdir -p "$parent" || exit 1
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

/** Arguments: the path, whether with all that is in it, and where the data are. */
export const REMOVE = `${PRELUDE}
need rm rmdir
decode "$1"; path=$decoded
info=$(stat -c %A "$path") || exit 1
spare "$path" "$3"
case $info$2 in
  d*recursive) rm -rf "$path" || exit 1 ;;
  d*) rmdir "$path" || exit 1 ;;
  *) rm -f "$path" || exit 1 ;;
esac
`;

/**
 * Arguments: the path, and a token. Prints a line, the archive, the token and how tar ended; then waits for the end of
 * its input, as {@link READ_FILE} does.
 */
export const PACK = `${PRELUDE}
need tar
decode "$1"; path=$decoded
info=$(stat -L -c %A "$path") || exit 1
case $info in d*) ;; *) exit ${String(EXIT.notDirectory)} ;; esac
cd "$path" || exit 1
[ -r . ] || { echo 'archive: Permission denied' >&2; exit 1; }
echo ready
tar -cf - .
printf '%s%03d' "$2" $?
IFS= read -r end
exit 0
`;

/**
 * Arguments: the path; a token, which is the name of the archive's last file: without it, the archive is not whole; an
 * id. Its input is the archive. Unpacks it aside, and then links what it held to where it belongs.
 */
export const UNPACK = `${PRELUDE}${SWEEP}
need chmod cp find mkdir rm tar
decode "$1"; path=$decoded
mkdir -p "$path" || exit 1
sweep "\${path%/}"
aside=\${path%/}/${UNPACKING}$3
mkdir -m 700 "$aside" || exit 1
trap 'cd /; chmod -R u+rwX "$aside" 2>/dev/null; rm -rf "$aside"' EXIT
trap 'exit 143' HUP INT TERM
cd "$aside" || exit 1
tar -xof - || exit 1
rm "./$2" 2>/dev/null || exit ${String(EXIT.incomplete)}
find . ! -name . -prune -exec sh -c 'into=$1; shift; cp -alf "$@" "$into"' cp "\${path%/}/" {} + || exit 1
printf 'unpacked\\n'
`;
