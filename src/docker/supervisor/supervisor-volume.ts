import { Logger } from '@nestjs/common';
import type Docker from 'dockerode';
import type { MountSettings } from 'dockerode';
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { ConfigError } from '../../config';
import { EngineError, SUPERVISOR_PATH } from '../../engine';
import { abortable } from '../connection/client';
import type { DockerDaemon } from '../connection/daemon';
import { hasStatus, ignoringGone, ignoringRefusal, refusalOf, unlessMissing } from '../connection/errors';
import { packed } from '../connection/streams';
import { containerOf, importEmpty, remove, statOf } from '../connection/container-verbs';
import { containerLabels, LABELS, supervisorLabels } from '../model/labels';
import { shownReadOnly, type SupervisorMount } from '../model/volume-options';
import { isKnownState } from '../model/inspect';

const PREFIX = 'berth-supervisor-';
const REPOSITORY = 'berth/empty';
/** What the names of the volumes with the files end with; the others show these files read-only. */
const FILES = '-files';

/** Files of the volume. The second is written after the first, so that its presence says that the first is complete. */
const PROGRAM = 'supervisor';
const COMPLETE = 'complete';

/**
 * Another process that fills the volume may take this long; after that it counts as dead. Milliseconds of the daemon's
 * clock.
 */
const FILLED_WITHIN_MS = 15_000;
const LOOK_EVERY_MS = 200;
/** Volumes of other versions are removed when they are this old and no container has them, in milliseconds. */
const OLD_AFTER_MS = 24 * 3_600_000;

const volumes = z.object({
  Volumes: z.array(z.object({ Name: z.string(), CreatedAt: z.string().optional() })).nullish(),
});
const inspection = z.object({ Mountpoint: z.string().startsWith('/') });
const helper = z.object({ Id: z.string(), Created: z.string() });

/** The supervisor's program, as this process has it. */
interface SupervisorBinary {
  readonly content: Buffer;
  /** A part of its SHA-256. */
  readonly digest: string;
}

/** @throws ConfigError with instructions */
async function readSupervisor(file: string): Promise<SupervisorBinary> {
  try {
    const content = await readFile(file);
    return { content, digest: createHash('sha256').update(content).digest('hex').slice(0, 16) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(
      `SUPERVISOR_FILE: the supervisor's program cannot be read (${why}): npm run images builds it`,
    );
  }
}

/**
 * The volumes that hold the supervisor's program on one daemon, two for each version. One has the files. The other
 * shows them to all sandboxes, and is mounted read-only by the machine's own kernel: gVisor (20240729) refuses to open
 * a file of a read-only mount for writing, but has truncated it by then, in all sandboxes, if O_TRUNC was among the
 * flags.
 *
 * The first process that needs the volumes fills them. The container that it fills them with is the lock: its name is
 * unique in Docker, and one that was left by a dead process is replaced after 15 seconds.
 */
export class SupervisorVolume {
  private readonly logger = new Logger(SupervisorVolume.name);
  private filled: Promise<SupervisorMount> | null = null;
  /** Whether volumes that are there may be empty. */
  private isDoubted = false;
  private read: Promise<SupervisorBinary> | null = null;

  /** @param file the program */
  constructor(
    private readonly daemon: DockerDaemon,
    private readonly file: string,
  ) {}

  /** A name for this version. @throws ConfigError if there is no program */
  async name(): Promise<string> {
    return `${PREFIX}${(await this.binary()).digest}`;
  }

  /**
   * Makes and fills the volumes if that was not done.
   *
   * @returns the one for sandboxes
   * @throws EngineError, ConfigError
   */
  async ensure(): Promise<SupervisorMount> {
    const name = await this.name();
    this.filled ??= this.fillOnce(name);
    try {
      return await this.filled;
    } catch (error) {
      this.filled = null;
      throw error;
    }
  }

  /** To be called if the volumes may have been removed or emptied: the next {@link ensure} looks again. */
  doubt(): void {
    this.filled = null;
    this.isDoubted = true;
  }

  /** Removes the volumes of other versions that no container has had for a day. @throws EngineError */
  async removeOld(): Promise<void> {
    const current = await this.name();
    const now = (await this.daemon.seconds()) * 1000;
    const filters = { label: [`${LABELS.helper}=${supervisorLabels()[LABELS.helper] ?? ''}`] };
    const answer: unknown = await this.daemon.callVolumes((signal, docker) =>
      docker.listVolumes({ filters, abortSignal: signal }),
    );
    const all = (isKnownState(volumes, answer).Volumes ?? []).filter(({ Name }) => Name.startsWith(PREFIX));
    // Those with the files last, as no container has them: they are needed as long as others show them.
    const isFiles = (name: string): boolean => name.endsWith(FILES);
    all.sort((one, other) => Number(isFiles(one.Name)) - Number(isFiles(other.Name)));
    const left = new Set<string>();
    for (const { Name, CreatedAt = '' } of all) {
      const version = Name.slice(PREFIX.length).split('-', 1)[0] ?? '';
      // Another process may be about to create its first container with it.
      const isOld = now - Date.parse(CreatedAt) > OLD_AFTER_MS;
      const isNeeded = Name.startsWith(current) || !isOld || left.has(version);
      // Docker refuses if a container has it, running or not.
      const isGone =
        !isNeeded &&
        (await this.daemon.callVolumes((signal, docker) =>
          ignoringRefusal(docker.getVolume(Name).remove(abortable(signal, {}))),
        ));
      if (isGone) this.logger.log(`the volume ${Name} of another version was removed`);
      else left.add(version);
    }
  }

  private binary(): Promise<SupervisorBinary> {
    this.read ??= readSupervisor(this.file);
    this.read.catch(() => (this.read = null));
    return this.read;
  }

  /** @throws EngineError */
  private async fillOnce(name: string): Promise<SupervisorMount> {
    const files = `${name}${FILES}`;
    const known = this.isDoubted ? null : await this.mountOf(files);
    // The one that shows the files is made once they are there.
    if (known !== null && (await this.inspect(known.volume)) !== null) return known;
    await this.createVolume(files, {});
    await this.fill(files);
    const mount = await this.mountOf(files);
    if (mount === null) throw new EngineError('docker_error', `the volume ${files} was removed as it was filled`);
    await this.createVolume(mount.volume, shownReadOnly(mount.device));
    this.isDoubted = false;
    return mount;
  }

  /** @returns what shows the files; null if there is no volume with them */
  private async mountOf(files: string): Promise<SupervisorMount | null> {
    const answer = await this.inspect(files);
    if (answer === null) return null;
    const device = isKnownState(inspection, answer).Mountpoint;
    const name = files.slice(0, -FILES.length);
    // Another name if Docker has moved its data: a volume's options do not change.
    return { volume: `${name}-${createHash('sha256').update(device).digest('hex').slice(0, 8)}`, device };
  }

  private inspect(volume: string): Promise<unknown> {
    return this.daemon.callVolumes((signal, docker) =>
      unlessMissing(docker.getVolume(volume).inspect(abortable(signal, {}))),
    );
  }

  /** Success if there is a volume of this name. */
  private async createVolume(name: string, options: Record<string, string>): Promise<void> {
    await this.daemon.callVolumes((signal, docker) =>
      docker.createVolume({
        Name: name,
        Driver: 'local',
        Labels: supervisorLabels(),
        DriverOpts: options,
        abortSignal: signal,
      }),
    );
  }

  private async fill(files: string): Promise<void> {
    const lock = await this.lock(files);
    try {
      if (await this.isComplete(lock)) return;
      const { content } = await this.binary();
      await this.daemon.call('volume', async (signal, docker) => {
        const archive = await packed([
          { name: PROGRAM, mode: 0o755, content },
          { name: COMPLETE, mode: 0o444, content: '' },
        ]);
        await containerOf(docker, lock).putArchive(archive, abortable(signal, { path: SUPERVISOR_PATH }));
      });
      this.logger.log(`the supervisor was written to the volume ${files}`);
    } finally {
      await this.daemon.call('remove container', (signal, docker) => remove(containerOf(docker, lock), signal));
    }
  }

  /**
   * Creates the container that is the lock, and that has the volume. It is never started.
   *
   * @returns its id
   */
  private async lock(volume: string): Promise<string> {
    for (;;) {
      const made = await this.daemon.call('create container', (signal, docker) => createLock(docker, volume, signal));
      if (made !== null) return made;
      const answer: unknown = await this.daemon.call('inspect container', (signal, docker) =>
        unlessMissing(containerOf(docker, volume).inspect({ abortSignal: signal })),
      );
      if (answer !== null) {
        const { Id, Created } = isKnownState(helper, answer);
        const ageMs = (await this.daemon.seconds()) * 1000 - Date.parse(Created);
        if (ageMs > FILLED_WITHIN_MS) {
          // By its id: another process may have replaced it meanwhile.
          await this.daemon.call('remove container', (signal, docker) =>
            ignoringGone(containerOf(docker, Id).remove(abortable(signal, { v: false, force: true }))),
          );
          continue;
        }
      }
      await delay(LOOK_EVERY_MS);
    }
  }

  private async isComplete(lock: string): Promise<boolean> {
    const { content } = await this.binary();
    const sizeOf = (name: string): Promise<number | null> =>
      this.daemon.call('volume', async (signal, docker) => {
        const look = statOf(containerOf(docker, lock), `${SUPERVISOR_PATH}/${name}`, signal);
        return (await unlessMissing(look))?.size ?? null;
      });
    return (await sizeOf(PROGRAM)) === content.length && (await sizeOf(COMPLETE)) !== null;
  }
}

function filesMount(volume: string): MountSettings {
  const VolumeOptions = { NoCopy: true, Labels: supervisorLabels(), DriverConfig: { Name: 'local', Options: {} } };
  return { Type: 'volume', Source: volume, Target: SUPERVISOR_PATH, VolumeOptions };
}

/** @returns the id; null if there is a container of this name */
async function createLock(docker: Docker, volume: string, signal: AbortSignal): Promise<string | null> {
  const image = `${REPOSITORY}:${randomUUID()}`;
  const changes = [`LABEL ${LABELS.managed}=true`];
  try {
    await importEmpty(docker, { image, changes, signal });
    const Labels = containerLabels(supervisorLabels());
    const HostConfig = { NetworkMode: 'none', Mounts: [filesMount(volume)] };
    const body = { Image: image, Cmd: ['none'], Labels, HostConfig };
    return (await docker.createContainer(abortable(signal, { _query: { name: volume }, _body: body }))).id;
  } catch (error) {
    if (hasStatus(error, 409)) return null;
    throw error;
  } finally {
    // By its name alone, as long as a container has it.
    await ignoringRefusal(docker.getImage(image).remove(abortable(signal, { force: true })));
  }
}

/** Whether Docker refused a start because the volumes are gone, or do not have the program. */
export function isSupervisorMissing(error: unknown): boolean {
  const { message } = refusalOf(error) ?? { message: '' };
  const isNotFound =
    message.includes(`${SUPERVISOR_PATH}/${PROGRAM}`) && /no such file|not found|exec format/i.test(message);
  return isNotFound || (message.includes(PREFIX) && /failed to mount local volume/i.test(message));
}
