import type { ContainerCreateOptions, MountSettings } from 'dockerode';
import type { OwnerLabels } from './container-engine';
import { ownerLabels } from './labels';

/** More than tar has needed for a directory of a million files. */
const MEMORY = 512 * 1024 * 1024;
const PIDS_LIMIT = 64;

/** What it takes to read and make anybody's files with their owners, modes, attributes and kinds; everything else is dropped. */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'SETFCAP', 'MKNOD'];

/** A volume as the worker sees it. */
export interface WorkerMount {
  readonly volume: string;
  readonly path: string;
  readonly access: 'read' | 'write';
}

/** A container that works on volumes for a moment. */
export interface WorkerSpec {
  readonly image: string;
  readonly script: string;
  readonly mounts: readonly WorkerMount[];
  readonly owner: OwnerLabels;
}

/**
 * The body of Docker's create call. It runs no program of the user's, so not under gVisor, which is many times slower with
 * files and keeps neither all attributes nor all kinds of files; it can reach nothing but the volumes.
 */
export function volumeWorkerOptions({ image, script, mounts, owner }: WorkerSpec): ContainerCreateOptions {
  return {
    Image: image,
    User: '0:0',
    WorkingDir: '/',
    Entrypoint: ['/bin/sh', '-c', script],
    Cmd: [],
    Labels: ownerLabels(owner),
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      Runtime: 'runc',
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      Tmpfs: { '/tmp': 'rw,noexec,nosuid,nodev,size=1m' },
      Memory: MEMORY,
      MemorySwap: MEMORY,
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

/** Labels count only if the volume is gone: Docker then makes it anew, and it must be known whose it is. */
function volumeMount({ volume, path, access }: WorkerMount, owner: OwnerLabels): MountSettings {
  return {
    Type: 'volume',
    Source: volume,
    Target: path,
    ReadOnly: access === 'read',
    VolumeOptions: { NoCopy: true, Labels: ownerLabels(owner), DriverConfig: { Name: 'local', Options: {} } },
  };
}
