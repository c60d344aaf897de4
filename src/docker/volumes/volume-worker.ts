import type Docker from 'dockerode';
import type { ContainerCreateOptions, MountSettings } from 'dockerode';
import { createInterface } from 'node:readline';
import { type Duplex, PassThrough, type Readable, type Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { EngineError, type OwnerLabels } from '../../engine';
import { abortable, boundedCall, type DockerClients } from '../connection/client';
import { containerOf, remove, start } from '../connection/container-verbs';
import { containerLabels, ownerLabels } from '../model/labels';
import { labelsOfImage } from '../images/images';
import { OutputFrames } from '../connection/output-frames';
import { readable } from '../connection/streams';

/** More than tar needed for a directory of a million files. */
const MEMORY = 512 * 1024 * 1024;
const PIDS_LIMIT = 64;

/**
 * One processor for the programs of a worker together, and a quarter of a sandbox's weight where processors are short:
 * what is copied, and so the work, is the user's choice.
 */
const CPU = { CpuPeriod: 100_000, CpuQuota: 100_000, CpuShares: 256 } as const;

/**
 * What a process needs to read and create any user's files with their owners, modes, attributes and types. All other
 * capabilities are dropped.
 */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'SETFCAP', 'MKNOD'];

interface WorkerMount {
  readonly volume: string;
  readonly path: string;
  readonly access: 'read' | 'write';
}

/** A container that works on volumes briefly. */
interface WorkerSpec {
  readonly image: string;
  readonly script: string;
  readonly mounts: readonly WorkerMount[];
  readonly owner: OwnerLabels;
  /** Whether the script reads stdin. */
  readonly stdin?: true;
}

/**
 * The body of Docker's create call. The worker runs none of the user's programs, so it does not run under gVisor,
 * which is many times slower with files and preserves neither all attributes nor all file types. It can reach nothing
 * but the volumes.
 *
 * @param claimedLabels the image's labels with Berth's prefix
 */
export function volumeWorkerOptions(
  { image, script, mounts, owner, stdin }: WorkerSpec,
  claimedLabels: readonly string[],
): ContainerCreateOptions {
  return {
    Image: image,
    User: '0:0',
    WorkingDir: '/',
    Entrypoint: ['/bin/sh', '-c', script],
    Cmd: [],
    Labels: containerLabels(ownerLabels(owner), claimedLabels),
    Healthcheck: { Test: ['NONE'] },
    ...(stdin && { AttachStdin: true, OpenStdin: true, StdinOnce: true }),
    HostConfig: {
      Runtime: 'runc',
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      Tmpfs: { '/tmp': 'rw,noexec,nosuid,nodev,size=1m' },
      Memory: MEMORY,
      MemorySwap: MEMORY,
      ...CPU,
      PidsLimit: PIDS_LIMIT,
      CapDrop: ['ALL'],
      CapAdd: CAPABILITIES,
      SecurityOpt: ['no-new-privileges'],
      Privileged: false,
      IpcMode: 'private',
      Mounts: mounts.map((mount) => volumeMount(mount, owner)),
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'none', Config: {} },
    },
  };
}

/** Labels matter only if the volume is gone: Docker then recreates it, and its owner must be identifiable. */
function volumeMount({ volume, path, access }: WorkerMount, owner: OwnerLabels): MountSettings {
  return {
    Type: 'volume',
    Source: volume,
    Target: path,
    ReadOnly: access === 'read',
    VolumeOptions: { NoCopy: true, Labels: ownerLabels(owner), DriverConfig: { Name: 'local', Options: {} } },
  };
}

/** Maximum characters of the programs' error output that are kept for the log. */
const COMPLAINT_CHARS = 2000;

/**
 * A worker that neither reports, reads nor writes for longer than this is stuck. A flush of gigabytes to a slow disk
 * produces no reports either.
 */
const STALL_MS = 5 * 60_000;

interface WorkerRun {
  /** Unique in Docker; a leftover of this name is replaced. */
  readonly name: string;
  /** Called for each line that the script reports. */
  readonly onReport?: (line: string) => void;
  /**
   * Takes the script's stdout, instead of reports. Left open: only the exit code tells whether the output is
   * complete.
   */
  readonly output?: Writable;
  /** The script's stdin, if the spec has one. What the script leaves unread is read to the end all the same. */
  readonly input?: Readable;
  readonly signal?: AbortSignal | undefined;
  readonly stallMs?: number;
}

export interface WorkerResult {
  readonly exitCode: number;
  /** The end of the programs' error output; may contain file names. */
  readonly complaint: string;
}

/**
 * Runs a script on volumes in a container that is removed afterwards. If this process dies, the container is found by
 * its labels.
 *
 * @param timeoutMs of each Docker call; the run itself is bounded by its reports
 * @throws EngineError `aborted`, `docker_unavailable` when it is stuck; Docker's refusals
 */
export async function runVolumeWorker(
  clients: DockerClients,
  spec: WorkerSpec,
  { timeoutMs, ...run }: WorkerRun & { timeoutMs: number },
): Promise<WorkerResult> {
  const bounded = <T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> => boundedCall(timeoutMs, call);
  throwIfAborted(run.signal);
  const leftover = containerOf(clients.calls, run.name);
  await bounded((signal) => remove(leftover, signal));
  const claimed = await bounded(() => labelsOfImage(clients.calls, spec.image));
  const options = volumeWorkerOptions(spec, claimed);
  const container = await bounded((signal) =>
    clients.streams.createContainer(abortable(signal, { _query: { name: run.name }, _body: options })),
  );
  let stream: Readable | null = null;
  try {
    // Attached before it starts, so that no report is missed.
    stream = readable(await bounded((signal) => attach(container, spec, signal)));
    throwIfAborted(run.signal);
    const ended = listen(stream, run);
    ended.catch(() => undefined);
    await bounded((signal) => start(container, signal));
    const complaint = await ended;
    const answer: unknown = await bounded((signal) => container.wait(abortable(signal, {})));
    return { exitCode: exitCodeOf(answer), complaint };
  } finally {
    // Docker (26.1) does not notice the end of a container whose output is not read, and cannot remove it.
    stream?.destroy();
    // If this fails too, the container remains as an orphan: it belongs to no row.
    await bounded((signal) => remove(container, signal)).catch(() => undefined);
  }
}

function attach(
  container: Docker.Container,
  { stdin }: WorkerSpec,
  signal: AbortSignal,
): Promise<NodeJS.ReadWriteStream> {
  const input = stdin ? { stdin: true, hijack: true } : {};
  return container.attach(abortable(signal, { stream: true, stdout: true, stderr: true, ...input }));
}

/** @returns the error output, when the container has ended */
async function listen(stream: Readable, run: WorkerRun): Promise<string> {
  const { onReport = () => undefined, signal, stallMs = STALL_MS, input } = run;
  const reports = run.output ? null : new PassThrough();
  const sink = run.output ?? reports;
  let complaint = '';
  const frames = new OutputFrames(({ stream: from, data }) => {
    if (from === 'stdout') sink?.write(data);
    else complaint = (complaint + data.toString()).slice(-COMPLAINT_CHARS);
  });
  const stall = setTimeout(() => {
    stream.destroy(new EngineError('docker_unavailable', 'the work on a volume hangs'));
  }, stallMs);
  const abort = (): void => {
    stream.destroy(aborted());
  };
  signal?.addEventListener('abort', abort, { once: true });
  if (reports) {
    createInterface({ input: reports }).on('line', (line) => {
      stall.refresh();
      onReport(line);
    });
  }
  try {
    throwIfAborted(signal);
    if (input) feed(input, stream as Duplex, () => stall.refresh());
    stream.on('data', (chunk: Buffer) => {
      frames.take(chunk);
      if (run.output) stall.refresh();
      if (sink?.writableNeedDrain !== true) return;
      stream.pause();
      sink.once('drain', () => stream.resume());
    });
    await finished(stream, { writable: false });
    if (reports) {
      reports.end();
      await finished(reports);
    }
    return complaint.trim();
  } finally {
    clearTimeout(stall);
    signal?.removeEventListener('abort', abort);
    reports?.destroy();
  }
}

/** Ignores errors of the connection: the worker's exit code gives the result. */
function feed(input: Readable, stdin: Duplex, onProgress: () => void): void {
  stdin.on('error', () => undefined);
  stdin.once('close', () => input.resume());
  input.on('data', onProgress);
  input.once('error', (error) => stdin.destroy(error));
  input.pipe(stdin);
}

function exitCodeOf(answer: unknown): number {
  const { StatusCode } = (answer ?? {}) as { StatusCode?: unknown };
  if (typeof StatusCode === 'number') return StatusCode;
  throw new EngineError('docker_unavailable', "Docker's answer to a wait cannot be read");
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted();
}

function aborted(): EngineError {
  return new EngineError('aborted', 'the work on a volume was aborted');
}

/** The scripts' exit codes beside 0; any other is a failure that only the log explains. */
export const SCRIPT_EXIT = { differs: 3, failed: 4, toolsMissing: 5, full: 28 } as const;

const BLOCKS_IN_RECORD = 128;
const RECORDS_IN_CHECKPOINT = 160;

/** `TAR_CHECKPOINT` counts records of this many bytes. */
export const RECORD_BYTES = BLOCKS_IN_RECORD * 512;

/** Where the volumes are mounted for the scripts. */
export const SOURCE_PATH = '/from';
export const TARGET_PATH = '/to';

/**
 * File descriptor 3 carries the reports, lines that only the scripts write. File names may contain anything: they are
 * never written to it, never expanded by the shell and never passed as an argument to a program. Programs' output
 * goes to the log.
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

/** Reports `bytes N`: the disk space that the data uses. Fails early if the image lacks what the copy will need. */
export const MEASURE_SCRIPT = `${PRELUDE}
for tool in find sha256sum sync mktemp head cmp; do command -v "$tool" || exit ${SCRIPT_EXIT.toolsMissing}; done
case $(tar --version) in *'GNU tar'*) ;; *) exit ${SCRIPT_EXIT.toolsMissing} ;; esac
report bytes "$(used ${SOURCE_PATH})"
`;

/**
 * `archive FOLDER WORD HOLES` writes a folder as one stream, which is the same for the same data. Reports records as
 * WORD; HOLES are tar's options for sparse files.
 */
const ARCHIVE = `
archive() {
  tar --create --file=- --directory="$1" --one-file-system --sort=name --numeric-owner --format=pax \\
    --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' \\
    --xattrs --xattrs-include='*' --xattrs-exclude=security.selinux --acls --blocking-factor=${BLOCKS_IN_RECORD} \\
    --checkpoint=${RECORDS_IN_CHECKPOINT} --checkpoint-action="exec=echo $2 \\$TAR_CHECKPOINT >&3" $3 .
}
# The other formats of sparse files have the number of tar's process in them.
as_holes='--sparse --sparse-version=0.0'
`;

/** Replaces the target's contents by those of the archive on stdin. */
const EXTRACT = `
# Docker fills a new volume with what the image has at its path.
empty() { find ${TARGET_PATH} -xdev -mindepth 1 -delete; }
extract() {
  tar --extract --file=- --directory=${TARGET_PATH} --numeric-owner --same-owner --same-permissions \\
    --delay-directory-restore --xattrs --xattrs-include='*' --acls \\
    --blocking-factor=${BLOCKS_IN_RECORD} --read-full-records
}
# tar says that the disk is full in words, beside names that may be such words.
fail_extraction() {
  probe=$(mktemp ${TARGET_PATH}/full.XXXXXX) && head -c 1048576 /dev/zero >"$probe" || exit ${SCRIPT_EXIT.full}
  exit ${SCRIPT_EXIT.failed}
}
# The source is removed soon: nothing of the copy may be in memory alone then.
write_out() { sync --file-system ${TARGET_PATH} || exit ${SCRIPT_EXIT.failed}; }
`;

/** Data whose size has this many digits or more is compared with holes as holes only. */
const VAST_DIGITS = 12;

/** Data with more bytes of holes than this is first compared with holes as holes. */
export const MOST_HOLES = 2 ** 30;

/**
 * `holes_of SIZE USED` sets `holes`: how data is compared that has SIZE bytes in its files and uses USED of the disk.
 * It takes no time to write a file of petabytes that is one hole, but seconds to read a gigabyte of it.
 */
const HOLES = `
holes_of() {
  holes=
  if [ "\${#1}" -ge ${VAST_DIGITS} ] || [ "$(($1 - $2))" -gt ${MOST_HOLES} ]; then holes=$as_holes; fi
}
`;

/**
 * `clone` copies by reflink, which takes no time and no space, where both volumes are on one file system that has it:
 * XFS and btrfs. Fails otherwise, and then leaves anything in the target. The contents are the same blocks, so only
 * everything else is compared. `cp` reports a lost attribute only of those that it is told to keep by name.
 */
const CLONE = `
facts() {
  ( cd "$1" && find . -xdev -type s -prune -o -type d -printf 'd %m %U %G %T@ %P\\0' \
    -o -printf '%y %m %U %G %T@ %s %n %l %P\\0' | sort --zero-terminated | sha256sum )
}
clone() {
  [ "$(stat --file-system --format=%i ${SOURCE_PATH})" = "$(stat --file-system --format=%i ${TARGET_PATH})" ] || return 1
  probe=$(mktemp ${TARGET_PATH}/probe.XXXXXX) && echo probe >"$probe" &&
    cp --reflink=always "$probe" "$probe.clone" || return 1
  rm "$probe" "$probe.clone" &&
    cp --recursive --no-dereference --preserve=mode,ownership,timestamps,links,xattr --reflink=always \
      ${SOURCE_PATH}/. ${TARGET_PATH}/ && [ "$(facts ${SOURCE_PATH})" = "$(facts ${TARGET_PATH})" ]
}
`;

/**
 * Empties the target, copies, flushes the copy to the disk, and compares the archives of both sides. Reports
 * `total N M` (the disk space that the data uses, the bytes in its files), `copied N` and `checked N` (records of the
 * archives), and `bytes N`. Where a reflink does it, reports `cloned 1` instead of what is copied and checked.
 *
 * The compared archives contain every byte of every file, and holes as zeros: the position of holes may differ. If
 * there are more than a gigabyte of holes, these are compared as holes, and as zeros only if the two differ so; if the
 * files hold 10¹¹ bytes or more, as holes alone.
 */
export const COPY_SCRIPT = `${PRELUDE}${ARCHIVE}${HOLES}${EXTRACT}${CLONE}
ended_well() { [ "$(cat "$@")" = "0
0" ]; }

size=$(used --apparent-size ${SOURCE_PATH})
taken=$(used ${SOURCE_PATH})
holes_of "$size" "$taken"
report total "$taken" "$size"

empty || exit ${SCRIPT_EXIT.failed}
if clone; then
  write_out
  report cloned 1
  report bytes "$(used ${TARGET_PATH})"
  exit 0
fi
empty || exit ${SCRIPT_EXIT.failed}
{ archive ${SOURCE_PATH} copied --sparse; echo $? >/tmp/created; } | {
  extract
  echo $? >/tmp/extracted
}
ended_well /tmp/created /tmp/extracted || fail_extraction
write_out

sum() { { archive "$1" checked "$holes"; echo $? >"$2.ended"; } | sha256sum >"$2"; }
is_same() {
  report checked 0
  sum ${SOURCE_PATH} /tmp/source &
  sum ${TARGET_PATH} /tmp/target &
  wait
  ended_well /tmp/source.ended /tmp/target.ended || exit ${SCRIPT_EXIT.failed}
  [ -s /tmp/source ] && cmp /tmp/source /tmp/target
}
if ! is_same; then
  [ -n "$holes" ] && [ "\${#size}" -lt ${VAST_DIGITS} ] || exit ${SCRIPT_EXIT.differs}
  holes=
  is_same || exit ${SCRIPT_EXIT.differs}
fi
report bytes "$(used ${TARGET_PATH})"
`;

/** Writes the source as an archive to stdout, in place of reports. */
export const SEND_SCRIPT = `${PRELUDE}${ARCHIVE}
exec 4>&3 3>/dev/null
archive ${SOURCE_PATH} copied --sparse >&4 || exit ${SCRIPT_EXIT.failed}
`;

/** Replaces the target's contents by the archive of {@link SEND_SCRIPT}, and flushes them to the disk. */
export const RECEIVE_SCRIPT = `${PRELUDE}${EXTRACT}
empty || exit ${SCRIPT_EXIT.failed}
extract || fail_extraction
write_out
`;

/**
 * The digest of the archive that {@link COPY_SCRIPT} compares. Reports `total N M` and `checked N` like that script,
 * `sum X` and `bytes N`.
 *
 * @param like the source's files, which decide how holes are compared; absent if this is the source
 */
export function digestScript(like?: { readonly size: number; readonly bytes: number }): string {
  const of = like === undefined ? '"$size" "$taken"' : `${String(like.size)} ${String(like.bytes)}`;
  return `${PRELUDE}${ARCHIVE}${HOLES}
size=$(used --apparent-size ${SOURCE_PATH})
taken=$(used ${SOURCE_PATH})
report total "$taken" "$size"
holes_of ${of}
sum=$({ archive ${SOURCE_PATH} checked "$holes"; echo $? >/tmp/ended; } | sha256sum)
[ "$(cat /tmp/ended)" = 0 ] || exit ${SCRIPT_EXIT.failed}
report sum "\${sum%% *}"
report bytes "$taken"
`;
}
