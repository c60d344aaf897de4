import { JSONParser } from '@streamparser/json';
import type Docker from 'dockerode';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { pack } from 'tar-stream';
import { EngineError, type WatchSubject } from '../../engine';
import { LABELS } from '../model/labels';
import { WATCHED } from './docker-events';

/** @param since seconds of the daemon's clock */
export async function openEvents(
  docker: Docker,
  { instance, subject, since, signal }: { instance: string; subject: WatchSubject; since: number; signal: AbortSignal },
): Promise<Readable> {
  const { event, label } = WATCHED[subject];
  const stream = await docker.getEvents({
    since,
    filters: { type: ['container'], label: [`${LABELS.instance}=${instance}`, ...label], event: [...event] },
    abortSignal: signal,
  });
  return readable(stream);
}

/**
 * Opens Docker's list of all containers with these labels as a stream: dockerode's own call would parse the whole
 * list at once.
 */
export async function openList(
  docker: Docker,
  { label, signal }: { label: readonly string[]; signal: AbortSignal },
): Promise<Readable> {
  return openAnswer(docker, { path: '/containers/json?', options: { all: true, filters: { label } }, signal });
}

/** Opens Docker's list of the files that a container has changed, of which there may be a million. */
export async function openChanges(docker: Docker, engineId: string, signal: AbortSignal): Promise<Readable> {
  return openAnswer(docker, { path: `/containers/${encodeURIComponent(engineId)}/changes`, signal });
}

/** Opens an image, with all its layers, as an archive. */
export async function openImage(docker: Docker, reference: string, signal: AbortSignal): Promise<Readable> {
  return openAnswer(docker, { path: `/images/${reference}/get`, signal });
}

async function openAnswer(
  docker: Docker,
  { signal, ...request }: { path: string; options?: object; signal: AbortSignal },
): Promise<Readable> {
  const stream = await new Promise<NodeJS.ReadableStream>((resolve, reject) => {
    const modem = docker.modem as Modem;
    const statusCodes = { 200: true, 400: 'bad parameter', 404: 'no such object', 500: 'server error' };
    modem.dial({ ...request, method: 'GET', isStream: true, abortSignal: signal, statusCodes }, (error, answer) => {
      if (error) reject(error);
      else resolve(answer);
    });
  });
  return readable(stream);
}

/** The internals of dockerode's own calls; its types do not declare them. */
interface Modem {
  dial(request: object, done: (error: Error | null, answer: NodeJS.ReadableStream) => void): void;
}

/** Narrows dockerode's stream type, which is that of Node.js 0.10; the actual value is the HTTP response. */
export function readable(stream: NodeJS.ReadableStream): Readable {
  if (stream instanceof Readable) return stream;
  throw new EngineError('docker_error', 'Docker gave no stream');
}

/** A tar archive of files that root owns. */
export function packed(
  files: readonly { readonly name: string; readonly mode: number; readonly content: Buffer | string }[],
): Promise<Buffer> {
  const archive = pack();
  for (const { name, mode, content } of files) archive.entry({ name, mode, mtime: new Date(0) }, content);
  archive.finalize();
  return buffer(archive);
}

/**
 * Responses up to this size, enough for the containers of most machines, are parsed at once, in some ten
 * milliseconds.
 */
const AT_ONCE_BYTES = 1024 * 1024;

/**
 * Yields the elements of a JSON array; a long one is parsed as it arrives. The list of ten thousand containers has
 * 12 MB: parsing it at once would block the process for a tenth of a second. A short array is parsed at once, which
 * takes a third of the time.
 *
 * @param options.isNullEmpty whether Docker says null where there are no elements
 * @throws EngineError `docker_unavailable` for anything but one complete array: an unreadable response counts as none
 */
export async function* jsonElements(
  stream: Readable,
  { atOnce = AT_ONCE_BYTES, isNullEmpty = false } = {},
): AsyncGenerator {
  const held: Buffer[] = [];
  let bytes = 0;
  let parsed: ArrivingArray | null = null;
  try {
    for await (const chunk of stream) {
      held.push(chunk as Buffer);
      bytes += (chunk as Buffer).length;
      if (bytes <= atOnce) continue;
      parsed ??= new ArrivingArray();
      for (const one of held.splice(0)) {
        yield* parsed.take(one);
        // Lets other work run in between: parsing all that was held takes some 30 ms, and Node.js delivers up to 32
        // chunks (2 MB) in one turn of the event loop.
        await nextTurn();
      }
    }
    const whole: unknown = parsed ? parsed.whole : JSON.parse(Buffer.concat(held).toString());
    if (whole === null && isNullEmpty) return;
    if (!Array.isArray(whole)) throw new TypeError('no whole list');
    if (!parsed) yield* whole;
  } catch (error) {
    throw new EngineError('docker_unavailable', "Docker's answer is not a list that can be read", { cause: error });
  }
}

/** A JSON array that is parsed as it arrives. */
class ArrivingArray {
  /** The array without its elements; undefined until the array is complete. */
  whole: unknown;
  private elements: unknown[] = [];
  // Without `keepStack`, the parser releases each element after passing it on; the array itself comes last.
  private readonly parser = new JSONParser({ paths: ['$', '$.*'], keepStack: false });

  constructor() {
    this.parser.onValue = ({ value, stack }) => {
      if (stack.length > 0) this.elements.push(value);
      else this.whole = value;
    };
  }

  /** @returns the elements that this chunk completes. @throws what the parser throws */
  take(chunk: Buffer): unknown[] {
    this.parser.write(chunk);
    const { elements } = this;
    this.elements = [];
    return elements;
  }
}
