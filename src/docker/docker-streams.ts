import { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { EngineError } from './engine-error';
import { WATCHED_ACTIONS } from './engine-event';
import { parseImageReference } from './image-reference';
import { LABELS } from './labels';
import type { RegistryLogin } from './registry-auth-file';

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
  return readable(stream);
}

/** Docker's answer to a list of all containers with these labels, while it arrives: dockerode's own call parses it as a whole. */
export async function openList(
  docker: Docker,
  { label, signal }: { label: readonly string[]; signal: AbortSignal },
): Promise<Readable> {
  const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
    const modem = docker.modem as Modem;
    modem.dial(
      {
        path: '/containers/json?',
        method: 'GET',
        options: { all: true, filters: { label } },
        isStream: true,
        abortSignal: signal,
        statusCodes: { 200: true, 400: 'bad parameter', 500: 'server error' },
      },
      (error, answer) => {
        if (error) reject(error);
        else resolve(answer);
      },
    );
  });
  return readable(stream);
}

/** What dockerode's own calls are made by; its types do not know it. */
interface Modem {
  dial(request: object, done: (error: Error | null, answer: NodeJS.ReadableStream) => void): void;
}

/** Begins a pull; Docker breaks it off when the stream is closed. */
export async function openPull(
  docker: Docker,
  reference: string,
  { signal, login }: { signal: AbortSignal; login: RegistryLogin | undefined },
): Promise<Readable> {
  const parsed = parseImageReference(reference);
  const options = {
    fromImage: parsed?.repository ?? reference,
    // Without a tag Docker before 20.10 pulls them all.
    tag: parsed?.digest ?? parsed?.tag ?? 'latest',
    abortSignal: signal,
    // Sent as a header.
    ...(login && { authconfig: login }),
  };
  const stream = await docker.createImage(options);
  return readable(stream);
}

/** dockerode's type is that of Node.js 0.10; what it gives is the response. */
export function readable(stream: NodeJS.ReadableStream): Readable {
  if (stream instanceof Readable) return stream;
  throw new EngineError('docker_error', 'Docker gave no stream');
}
