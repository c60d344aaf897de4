import { posix } from 'node:path';
import { z } from 'zod';
import { DATA_PATH, NAME_SERVERS_FILE, PROOF_FILE, SUPERVISOR_PATH } from '../../engine';
import { isKnownState } from '../model/inspect';

/** An entry of Docker's `GET /containers/ID/changes`. */
const change = z.object({ Path: z.string(), Kind: z.number() });

/** Docker's `Kind` of a path that was changed; others are added (1) or deleted (2). */
const CHANGED = 0;

/**
 * gVisor (20240729) without `--overlay2=none` keeps all writes of a sandbox in such a file in the writable layer. A
 * commit would store that file instead of the sandbox's files, and take 20 s for it.
 */
const FILESTORE = '/.gvisor.filestore.';

/** What Docker and Berth themselves leave in a writable layer: mount points, and name servers for the main process. */
const OWN = [
  DATA_PATH,
  SUPERVISOR_PATH,
  '/sbin/docker-init',
  '/usr/sbin/docker-init',
  posix.dirname(posix.join('/', NAME_SERVERS_FILE)),
  '/etc/resolv.conf',
  '/etc/hosts',
  '/etc/hostname',
];

/** The folders above {@link OWN}, which are changed by what is below them. */
const ABOVE_OWN: ReadonlySet<string> = new Set(OWN.flatMap(foldersAbove));

/** What the changes of a writable layer show. */
export interface LayerChanges {
  readonly isOnHost: boolean;
  readonly isWritten: boolean;
  /** Whether {@link PROOF_FILE} is among them. */
  readonly hasProof: boolean;
}

/**
 * Reads a list of changes as it arrives: a container may have a million.
 *
 * @throws EngineError `docker_unavailable` if an entry cannot be read
 */
export async function readChanges(entries: AsyncIterable<unknown>): Promise<LayerChanges> {
  let isOnHost = true;
  let isWritten = false;
  let hasProof = false;
  for await (const entry of entries) {
    const { Path, Kind } = isKnownState(change, entry);
    if (Path.startsWith(FILESTORE)) isOnHost = false;
    else isWritten ||= !isOwn(Path, Kind);
    hasProof ||= Path === PROOF_FILE;
  }
  return { isOnHost, isWritten, hasProof };
}

function isOwn(path: string, kind: number): boolean {
  if (OWN.some((own) => path === own || path.startsWith(`${own}/`))) return true;
  // Docker and Berth add missing folders.
  return kind <= CHANGED + 1 && ABOVE_OWN.has(path);
}

function foldersAbove(path: string): string[] {
  const above = posix.dirname(path);
  return above === '/' ? [] : [above, ...foldersAbove(above)];
}
