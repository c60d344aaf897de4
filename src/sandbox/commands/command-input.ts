import type { Readable } from 'node:stream';
import { DomainError } from '../../errors';
import { type BodyStream, createValidationPipe, parseJsonBody } from '../../http';
import { STREAMED_TIMEOUT_MS, StreamCommandDto } from './dto';

/** As of a body of JSON; beyond the limit of a command's own bytes, which may be escaped. */
const MAX_LINE_BYTES = 64 * 1024;

/** The command's own time ends it first: input may pause for as long as it runs. */
const IDLE_MS = STREAMED_TIMEOUT_MS.max + 60_000;

const LINE_FEED = 0x0a;

/** A command, and its input as it comes. */
export interface StreamedCommand {
  readonly command: StreamCommandDto;
  readonly input: Readable;
}

/**
 * Reads a body that is a line of JSON, the command, and after it the command's input: any bytes, of any length.
 *
 * @throws DomainError `invalid_parameters`, `body_too_large` for the line
 */
export async function readStreamedCommand(body: BodyStream): Promise<StreamedCommand> {
  const input = body.read(IDLE_MS);
  // One that breaks off is gone: its end ends the command.
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

/** The stream goes on behind the line feed. A line may be all that there is. */
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
