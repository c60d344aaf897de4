import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { WATCHED_ACTIONS } from './engine-event';
import { parseImageReference } from './image-reference';
import { LABELS } from './labels';

/** @param since seconds of the daemon's clock */
export async function openEvents(
  docker: Docker,
  { instance, since, signal }: { instance: string; since: number; signal: AbortSignal },
): Promise<Readable> {
  const stream = await docker.getEvents({
    since,
    filters: { type: ['container'], label: [`${LABELS.instance}=${instance}`], event: [...WATCHED_ACTIONS] },
    abortSignal: signal,
  });
  return stream as Readable;
}

/** Begins a pull; Docker breaks it off when the stream is closed. */
export async function openPull(docker: Docker, reference: string, signal: AbortSignal): Promise<Readable> {
  const parsed = parseImageReference(reference);
  const options = {
    fromImage: parsed?.repository ?? reference,
    // Without a tag Docker before 20.10 pulls them all.
    tag: parsed?.digest ?? parsed?.tag ?? 'latest',
    abortSignal: signal,
  };
  const stream: unknown = await docker.createImage(options);
  return stream as Readable;
}
