import type { Readable } from 'node:stream';
import { DomainError } from '../../errors';
import { type BodyStream, createValidationPipe, parseJsonBody } from '../../http';
import { STREAMED_TIMEOUT_MS, StreamCommandDto } from './dto';

/** The limit of a JSON body. It exceeds the limit of the command's own bytes, which JSON may escape. */
const MAX_LINE_BYTES = 64 * 1024;

/**
 * Longer than any command's timeout, which therefore applies first: the input may pause for as long as the command
 * runs.
 */
const IDLE_MS = STREAMED_TIMEOUT_MS.max + 60_000;

const LINE_FEED = 0x0a;

/** A command and its streamed input. */
interface StreamedCommand {
  readonly command: StreamCommandDto;
  readonly input: Readable;
}

/**
 * Reads a body whose first line is the command in JSON. All bytes after the line feed, of any length, are the
 * command's input.
 *
 * @throws DomainError `invalid_parameters`; `body_too_large` for the line
 */
export async function readStreamedCommand(body: BodyStream): Promise<StreamedCommand> {
  const input = body.read(IDLE_MS);
  // A body that breaks off means that the client is gone, and the end of its connection ends the command.
  input.on('error', () => undefined);
  try {
    const line = await firstLine(input);
    const metatype = StreamCommandDto;
    const asked: unknown = await createValidationPipe().transform(parseJsonBody(line), { type: 'body', metatype });
    return { command: asked as StreamCommandDto, input };
  } catch (error) {
    input.destroy();
    throw error;
  }
}

/**
 * Reads up to the line feed, or to the end of a body that is only one line. The stream continues after the line feed.
 */
async function firstLine(input: Readable): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input.iterator({ destroyOnReturn: false })) {
    const data = chunk as Buffer;
    const end = data.indexOf(LINE_FEED);
    const part = end < 0 ? data : data.subarray(0, end);
    bytes += part.length;
    if (bytes > MAX_LINE_BYTES) throw new DomainError('body_too_large');
    parts.push(part);
    if (end < 0) continue;
    if (end + 1 < data.length) input.unshift(data.subarray(end + 1));
    break;
  }
  return Buffer.concat(parts);
}
