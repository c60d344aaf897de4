import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { isUtf8 } from 'node:buffer';
import { type DomainError, invalidParameters } from '../../errors';

/** Linux's limit, without the terminating NUL. */
const MOST_BYTES = 4_095;
const SLASH = 0x2f;

/**
 * An absolute path in a container, of any bytes but NUL. Berth never opens such a path on its host. The container's
 * kernel resolves it, including links and `..`.
 */
export class ContainerPath {
  private constructor(
    readonly bytes: Buffer,
    /** Whether the path ended with a slash or `/.`, which asks for a directory. */
    readonly isDirectory: boolean,
  ) {}

  /**
   * @param field the name of the path's field, for errors
   * @throws DomainError `invalid_parameters` if the path is invalid
   */
  static parse(path: Buffer | string, field: string): ContainerPath {
    const given = typeof path === 'string' ? Buffer.from(path) : path;
    if (given.length === 0 || given.length > MOST_BYTES) throw refused(field, 'must have 1 to 4095 bytes');
    if (given[0] !== SLASH) throw refused(field, 'must be an absolute path, starting with /');
    if (given.includes(0)) throw refused(field, 'must not contain NUL');
    // Latin-1, one character for each byte, so that no byte is lost.
    const parts = given.toString('latin1').split('/');
    const kept = parts.filter((part) => part !== '' && part !== '.');
    return new ContainerPath(Buffer.from(`/${kept.join('/')}`, 'latin1'), parts.at(-1) === '' || parts.at(-1) === '.');
  }

  /**
   * Parses the path of an entry to be changed, made or moved.
   *
   * @throws DomainError `invalid_parameters` if the path does not end with a name
   */
  static parseEntry(path: Buffer | string, field: string): ContainerPath {
    const parsed = ContainerPath.parse(path, field);
    if (!parsed.isEntry) throw refused(field, 'must end with a file name');
    return parsed;
  }

  /** Whether the path ends with a name, unlike the root and paths that end with `..`. */
  get isEntry(): boolean {
    const last = this.base.toString('latin1');
    return last !== '' && last !== '..';
  }

  /** The last name; empty for the root. */
  get base(): Buffer {
    return this.bytes.subarray(this.bytes.lastIndexOf(SLASH) + 1);
  }

  /** For display: bytes that are not UTF-8 are replaced. */
  get text(): string {
    return this.bytes.toString();
  }

  /** Encoded for a query. */
  get inQuery(): string {
    return encodeQuery(this.bytes);
  }

  get isText(): boolean {
    return isUtf8(this.bytes);
  }

  below(name: Buffer): ContainerPath {
    const parts = this.bytes.length === 1 ? [this.bytes, name] : [this.bytes, Buffer.from('/'), name];
    return new ContainerPath(Buffer.concat(parts), false);
  }

  /** Whether the path equals the other one or is below it, by its text alone: links are not resolved. */
  isWithin(other: ContainerPath): boolean {
    const [own, outer] = [this, other].map(({ bytes }) => `${bytes.toString('latin1')}/`.replace('//', '/'));
    return own?.startsWith(outer ?? '') ?? false;
  }
}

function encodeQuery(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[^A-Za-z0-9/._~-]/g, (char) => {
    return `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

/**
 * A path in the query, as bytes; undefined if absent. The framework's own parser leaves bytes that are not UTF-8
 * encoded.
 */
export const QueryPath = createParamDecorator((name: string, context: ExecutionContext): Buffer | undefined => {
  return pathInQuery(context.switchToHttp().getRequest<FastifyRequest>().raw.url ?? '', name);
});

/** @throws DomainError `invalid_parameters` if the parameter is given more than once */
export function pathInQuery(url: string, name: string): Buffer | undefined {
  const query = url.slice(url.indexOf('?') + 1).split('#', 1)[0] ?? '';
  const found = url.includes('?') ? query.split('&').filter((pair) => pair.startsWith(`${name}=`)) : [];
  if (found.length > 1) throw refused(name, 'must be given once');
  return found[0] === undefined ? undefined : decodeQuery(found[0].slice(name.length + 1));
}

function decodeQuery(text: string): Buffer {
  const decoded = Buffer.from(text.replaceAll('+', ' ')).toString('latin1');
  return Buffer.from(
    decoded.replace(/%([0-9A-Fa-f]{2})/g, (_match, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    'latin1',
  );
}

function refused(field: string, message: string): DomainError {
  return invalidParameters([{ field, message }]);
}
