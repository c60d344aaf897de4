import type Docker from 'dockerode';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { abortable } from './client';
import { exists, hasStatus, ignoringGone, isGoneOrGoing, isAlreadyPaused, isNotPaused, refusalOf } from './errors';

const GOING_POLL_MS = 100;

/** Container verbs with the semantics that callers expect, despite the quirks of Docker and gVisor. */

/** Returns a container by its id or name, escaped for the URL's path. */
export function containerOf(docker: Docker, engineId: string): Docker.Container {
  return docker.getContainer(encodeURIComponent(engineId));
}

/** The end of an archive, without content: the smallest possible image. */
const EMPTY_TAR = Buffer.alloc(1024);

/** Makes an empty image, for a container that is never started: it needs no registry. */
export async function importEmpty(
  docker: Docker,
  { image, changes, signal }: { image: string; changes: readonly string[]; signal: AbortSignal },
): Promise<void> {
  const [repo, tag] = image.split(':');
  await text(await docker.importImage(Readable.from([EMPTY_TAR]), abortable(signal, { repo, tag, changes })));
}

/** @throws Docker's refusal */
export async function start(container: Docker.Container, signal: AbortSignal): Promise<'started' | 'already_running'> {
  try {
    await container.start(abortable(signal, {}));
    return 'started';
  } catch (error) {
    if (hasStatus(error, 304)) return 'already_running';
    throw error;
  }
}

/** Success if the container is paused already. */
export async function pause(container: Docker.Container, signal: AbortSignal): Promise<void> {
  try {
    await container.pause(abortable(signal, {}));
  } catch (error) {
    if (!isAlreadyPaused(error)) throw error;
  }
}

/** Success if the container is not paused. */
export async function unpause(container: Docker.Container, signal: AbortSignal): Promise<void> {
  try {
    await container.unpause(abortable(signal, {}));
  } catch (error) {
    if (!isNotPaused(error)) throw error;
  }
}

/** A paused container must be unpaused first: see `SandboxContainers.stop`. */
export async function stop(
  container: Docker.Container,
  graceSeconds: number,
  signal: AbortSignal,
): Promise<'stopped' | 'already_stopped'> {
  try {
    await container.stop({ t: graceSeconds, abortSignal: signal });
    return 'stopped';
  } catch (error) {
    if (hasStatus(error, 304)) return 'already_stopped';
    throw error;
  }
}

/**
 * Kills the container if it runs. Already gone is success. Afterwards the name is free, even if another caller
 * removed the container.
 */
export async function remove(container: Docker.Container, signal: AbortSignal): Promise<void> {
  try {
    await attemptRemoval(container, { force: false }, signal);
  } catch (error) {
    if (!hasStatus(error, 409)) throw error;
    // The container is alive. Docker 26.1 cannot kill a paused gVisor container (20240729): 500 after 10 s.
    await ignoringGone(unpause(container, signal));
    await attemptRemoval(container, { force: true }, signal);
  }
}

/**
 * Removes the container. If another caller, or an earlier attempt without an answer, is removing it, waits for the
 * end.
 */
async function attemptRemoval(
  container: Docker.Container,
  { force }: { force: boolean },
  signal: AbortSignal,
): Promise<void> {
  try {
    // `v` also removes the image's anonymous volumes; the data volume has a name and stays.
    await container.remove(abortable(signal, { v: true, force }));
  } catch (error) {
    if (hasStatus(error, 404)) return;
    if (!isGoneOrGoing(error)) throw error;
    while (await exists(container.inspect(abortable(signal, {})))) await delay(GOING_POLL_MS, undefined, { signal });
  }
}

/** Success if the container is gone, or already has this name. */
export async function rename(container: Docker.Container, name: string, signal: AbortSignal): Promise<void> {
  try {
    await container.rename(abortable(signal, { name }));
  } catch (error) {
    const refusal = refusalOf(error);
    const isNamedSo = refusal?.status === 400 && /same name/i.test(refusal.message);
    if (!isNamedSo && refusal?.status !== 404) throw error;
  }
}

const pathStat = z.object({ size: z.number(), mode: z.number(), linkTarget: z.string() });

/** What Docker says of a path in a container. @throws Docker's refusal, if there is no such path */
export async function statOf(
  container: Docker.Container,
  path: string,
  signal: AbortSignal,
): Promise<z.infer<typeof pathStat>> {
  const answer: unknown = await container.infoArchive(abortable(signal, { path }));
  const { headers } = (answer as IncomingMessage).resume();
  const header = String(headers['x-docker-container-path-stat']);
  return pathStat.parse(JSON.parse(Buffer.from(header, 'base64').toString()));
}
