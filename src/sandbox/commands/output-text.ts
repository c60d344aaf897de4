import { StringDecoder } from 'node:string_decoder';
import type { ExecOutput } from '../../engine';

/** How JSON shows the bytes of an output: as UTF-8 text, with U+FFFD for invalid bytes, or as Base64. */
export const OUTPUT_ENCODINGS = ['utf-8', 'base64'] as const;
export type OutputEncoding = (typeof OUTPUT_ENCODINGS)[number];

type Stream = ExecOutput['stream'];

/**
 * Decodes the outputs of one program piece by piece. A character whose bytes are split is in the piece that completes
 * it. Each piece of Base64 can be decoded by itself.
 */
export class OutputText {
  private readonly decoders: Readonly<Record<Stream, StringDecoder>> | null;

  constructor(encoding: OutputEncoding = 'utf-8') {
    this.decoders =
      encoding === 'base64' ? null : { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') };
  }

  /** @returns the text that is complete by now; may be empty */
  piece({ stream, data }: ExecOutput): string {
    return this.decoders ? this.decoders[stream].write(data) : data.toString('base64');
  }

  /** @returns the remains of a character that was never completed */
  rest(stream: Stream): string {
    return this.decoders?.[stream].end() ?? '';
  }
}

/** The whole outputs of a program, for a single response. */
export class CollectedOutput {
  private readonly data: Readonly<Record<Stream, Buffer[]>> = { stdout: [], stderr: [] };

  take({ stream, data }: ExecOutput): void {
    this.data[stream].push(data);
  }

  /** @param isCut whether more output has followed; an incomplete character at the end is then left out */
  text(stream: Stream, { encoding, isCut }: { encoding: OutputEncoding; isCut: boolean }): string {
    const bytes = Buffer.concat(this.data[stream]);
    if (encoding === 'base64') return bytes.toString('base64');
    const decoder = new StringDecoder('utf8');
    const text = decoder.write(bytes);
    return isCut ? text : text + decoder.end();
  }
}
