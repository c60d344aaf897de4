/** A range of a file's bytes. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

const SPEC = /^bytes=(\d{0,15})-(\d{0,15})$/;

/**
 * Parses a `Range` header (RFC 9110, 14). One range of bytes is served. Several ranges and other units are ignored,
 * which the RFC allows.
 *
 * @returns `all` if the header is absent or ignored; `unsatisfiable` for a 416
 */
export function requestedRange(header: string | undefined, size: number): ByteRange | 'all' | 'unsatisfiable' {
  const [, first = '', last = ''] = SPEC.exec(header?.replaceAll(' ', '') ?? '') ?? [];
  if (first === '' && last === '') return 'all';
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length };
  }
  const offset = Number(first);
  if (last !== '' && Number(last) < offset) return 'all';
  if (offset >= size) return 'unsatisfiable';
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  return { offset, length: end - offset };
}
