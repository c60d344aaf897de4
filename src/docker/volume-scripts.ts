/** What the scripts exit with beside 0; anything else is a failure that only the log explains. */
export const SCRIPT_EXIT = { differs: 3, failed: 4, toolsMissing: 5, full: 28 } as const;

const BLOCKS_IN_RECORD = 128;
const RECORDS_IN_CHECKPOINT = 160;

/** `TAR_CHECKPOINT` counts records of this many bytes. */
export const RECORD_BYTES = BLOCKS_IN_RECORD * 512;

/** Where the scripts find the volumes. */
export const SOURCE_PATH = '/from';
export const TARGET_PATH = '/to';

/**
 * File descriptor 3 is the report, lines that the scripts alone write: names of files, which may hold anything, are never
 * written to it, never expanded by the shell and never become an argument of a program. What programs print goes to the log.
 */
const PRELUDE = `
set -u
export LC_ALL=C
unset TAR_OPTIONS POSIXLY_CORRECT
exec 3>&1 1>&2
report() { echo "$*" >&3; }
# Files that vanish meanwhile make du complain, but the sum is printed all the same.
used() { set -- "$(du --summarize --one-file-system --block-size=1 "$@")"; echo "\${1%%[!0-9]*}"; }
`;

/** Reports `bytes N`: the space that the data takes. Fails early where the image lacks what the copy will need. */
export const MEASURE_SCRIPT = `${PRELUDE}
for tool in find sha256sum sync mktemp head cmp; do command -v "$tool" || exit ${SCRIPT_EXIT.toolsMissing}; done
case $(tar --version) in *'GNU tar'*) ;; *) exit ${SCRIPT_EXIT.toolsMissing} ;; esac
report bytes "$(used ${SOURCE_PATH})"
`;

/**
 * Empties the target, copies, writes it to the disk, and compares one stream of either side. Reports `total N M` (the space
 * that the data takes, the bytes in its files), `copied N` and `checked N` (records of the streams), `bytes N`.
 *
 * The streams that are compared hold every byte of every file, holes read as zeros: where the holes are may differ. Someone can
 * make a file of petabytes that is one hole, though; where the files hold 10¹¹ bytes and more, the holes are compared as holes.
 */
export const COPY_SCRIPT = `${PRELUDE}
archive() {
  tar --create --file=- --directory="$1" --one-file-system --sort=name --numeric-owner --format=pax \\
    --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' \\
    --xattrs --xattrs-include='*' --xattrs-exclude=security.selinux --acls --blocking-factor=${BLOCKS_IN_RECORD} \\
    --checkpoint=${RECORDS_IN_CHECKPOINT} --checkpoint-action="exec=echo $2 \\$TAR_CHECKPOINT >&3" $3 .
}
ended_well() { [ "$(cat "$@")" = "0
0" ]; }

size=$(used --apparent-size ${SOURCE_PATH})
holes=
# The other formats of sparse files have the number of tar's process in them.
[ "\${#size}" -le 11 ] || holes='--sparse --sparse-version=0.0'
report total "$(used ${SOURCE_PATH})" "$size"

# Docker fills a new volume with what the image has at its path.
find ${TARGET_PATH} -xdev -mindepth 1 -delete || exit ${SCRIPT_EXIT.failed}
{ archive ${SOURCE_PATH} copied --sparse; echo $? >/tmp/created; } | {
  tar --extract --file=- --directory=${TARGET_PATH} --numeric-owner --same-owner --same-permissions \\
    --delay-directory-restore --xattrs --xattrs-include='*' --acls \\
    --blocking-factor=${BLOCKS_IN_RECORD} --read-full-records
  echo $? >/tmp/extracted
}
if ! ended_well /tmp/created /tmp/extracted; then
  # tar says that the disk is full in words, beside names that may be such words.
  probe=$(mktemp ${TARGET_PATH}/full.XXXXXX) && head -c 1048576 /dev/zero >"$probe" || exit ${SCRIPT_EXIT.full}
  exit ${SCRIPT_EXIT.failed}
fi
# The source is removed soon: nothing of the copy may be in memory alone then.
sync --file-system ${TARGET_PATH} || exit ${SCRIPT_EXIT.failed}

sum() { { archive "$1" checked "$holes"; echo $? >"$2.ended"; } | sha256sum >"$2"; }
report checked 0
sum ${SOURCE_PATH} /tmp/source &
sum ${TARGET_PATH} /tmp/target &
wait
ended_well /tmp/source.ended /tmp/target.ended || exit ${SCRIPT_EXIT.failed}
[ -s /tmp/source ] && cmp /tmp/source /tmp/target || exit ${SCRIPT_EXIT.differs}
report bytes "$(used ${TARGET_PATH})"
`;
