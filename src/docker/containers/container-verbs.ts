import type Docker from 'dockerode';
import { setTimeout as delay } from 'node:timers/promises';
import { abortable } from '../connection/client';
import { exists, hasStatus, ignoringGone, isGoneOrGoing, isNotPaused, refusalOf } from '../connection/errors';

const GOING_POLL_MS = 100;

/** Container verbs with the semantics that callers expect, despite the quirks of Docker and gVisor. */

/** @returns the container of an id, which is never put into the URL's path unescaped */
export function containerOf(docker: Docker, dockerId: string): Docker.Container {
  return docker.getContainer(encodeURIComponent(dockerId));
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

/** Not paused is success. */
export async function unpause(container: Docker.Container, signal: AbortSignal): Promise<void> {
  try {
    await container.unpause(abortable(signal, {}));
  } catch (error) {
    if (!isNotPaused(error)) throw error;
  }
}

/** A paused container must be unpaused first: see `DockerEngine.stopContainer`. */
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

/** Kills it if it is alive; already gone is success. Afterwards its name is free, whoever removed it. */
export async function remove(container: Docker.Container, signal: AbortSignal): Promise<void> {
  try {
    await attemptRemoval(container, { force: false }, signal);
  } catch (error) {
    if (!hasStatus(error, 409)) throw error;
    // It is alive. Docker 26.1 cannot kill a paused gVisor container (20240729): 500 after 10 s.
    await ignoringGone(unpause(container, signal));
    await attemptRemoval(container, { force: true }, signal);
  }
}

/** If another caller, or an earlier attempt whose answer was lost, is already removing it, waits until that is over. */
async function attemptRemoval(
  container: Docker.Container,
  { force }: { force: boolean },
  signal: AbortSignal,
): Promise<void> {
  try {
    // `v` removes the image's anonymous volumes too; the data volume has a name and stays.
    await container.remove(abortable(signal, { v: true, force }));
  } catch (error) {
    if (hasStatus(error, 404)) return;
    if (!isGoneOrGoing(error)) throw error;
    while (await exists(container.inspect(abortable(signal, {})))) await delay(GOING_POLL_MS, undefined, { signal });
  }
}

/** Already gone, or already so named, is success. */
export async function rename(container: Docker.Container, name: string, signal: AbortSignal): Promise<void> {
  try {
    await container.rename(abortable(signal, { name }));
  } catch (error) {
    const refusal = refusalOf(error);
    const isNamedSo = refusal?.status === 400 && /same name/i.test(refusal.message);
    if (!isNamedSo && refusal?.status !== 404) throw error;
  }
}
