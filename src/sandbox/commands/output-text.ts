import { StringDecoder } from 'node:string_decoder';
import type { ExecOutput } from '../../docker';

/** How bytes of an output are shown in JSON: as UTF-8 text, with U+FFFD for what is none, or as Base64. */
export const OUTPUT_ENCODINGS = ['utf-8', 'base64'] as const;
export type OutputEncoding = (typeof OUTPUT_ENCODINGS)[number];

type Stream = ExecOutput['stream'];

/**
 * The outputs of one program as text, piece by piece: a character whose bytes come apart is in the piece that completes
 * it. Pieces of Base64 can each be decoded by themselves.
 */
export class OutputText {
  private readonly decoders: Readonly<Record<Stream, StringDecoder>> | null;

  constructor(encoding: OutputEncoding = 'utf-8') {
    this.decoders =
      encoding === 'base64' ? null : { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') };
  }

  /** @returns what can be shown by now; it may be nothing */
  piece({ stream, data }: ExecOutput): string {
    return this.decoders ? this.decoders[stream].write(data) : data.toString('base64');
  }

  /** @returns what was left of a character that never became whole */
  rest(stream: Stream): string {
    return this.decoders?.[stream].end() ?? '';
  }
}

/** The whole outputs of a program, for an answer in one piece. */
export class CollectedOutput {
  private readonly data: Readonly<Record<Stream, Buffer[]>> = { stdout: [], stderr: [] };

  take({ stream, data }: ExecOutput): void {
    this.data[stream].push(data);
  }

  /** @param isCut whether more has followed: then the beginning of a character at its end is left out */
  text(stream: Stream, { encoding, isCut }: { encoding: OutputEncoding; isCut: boolean }): string {
    const bytes = Buffer.concat(this.data[stream]);
    if (encoding === 'base64') return bytes.toString('base64');
    const decoder = new StringDecoder('utf8');
    const text = decoder.write(bytes);
    return isCut ? text : text + decoder.end();
  }
}
