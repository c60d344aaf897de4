import type Docker from 'dockerode';
import { setTimeout as delay } from 'node:timers/promises';
import { abortable } from './client';
import { exists, hasStatus, ignoringGone, isGoneOrGoing, isNotPaused, refusalOf } from './errors';

const GOING_POLL_MS = 100;

/** Each verb as a caller means it, whatever Docker and gVisor make of it. */

/** @returns the container of an id, which is never let into the path of the URL as it is */
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

/** A paused container must be unpaused before: see `DockerEngine.stopContainer`. */
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

/** Kills it if it lives; gone is success. Its name is free then, whoever removed it. */
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

/** Where another caller, or an earlier attempt whose answer was lost, is at it already, waits until that is over. */
async function attemptRemoval(
  container: Docker.Container,
  { force }: { force: boolean },
  signal: AbortSignal,
): Promise<void> {
  try {
    // `v` takes the anonymous volumes of the image with it; the data volume has a name and stays.
    await container.remove(abortable(signal, { v: true, force }));
  } catch (error) {
    if (hasStatus(error, 404)) return;
    if (!isGoneOrGoing(error)) throw error;
    while (await exists(container.inspect(abortable(signal, {})))) await delay(GOING_POLL_MS, undefined, { signal });
  }
}

/** Gone already, or named so already, is success. */
export async function rename(container: Docker.Container, name: string, signal: AbortSignal): Promise<void> {
  try {
    await container.rename(abortable(signal, { name }));
  } catch (error) {
    const refusal = refusalOf(error);
    const isNamedSo = refusal?.status === 400 && /same name/i.test(refusal.message);
    if (!isNamedSo && refusal?.status !== 404) throw error;
  }
}
