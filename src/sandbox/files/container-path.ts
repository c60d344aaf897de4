import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { isUtf8 } from 'node:buffer';
import { type DomainError, invalidParameters } from '../../errors';

/** Of Linux, without its end. */
const MOST_BYTES = 4_095;
const SLASH = 0x2f;

/**
 * A path in a container: absolute, of any bytes but NUL. Nothing of this machine's is ever opened by it; where it
 * leads, links and `..` included, the container's own kernel decides.
 */
export class ContainerPath {
  private constructor(
    readonly bytes: Buffer,
    /** Whether it ended with a slash, which asks for a directory. */
    readonly isDirectory: boolean,
  ) {}

  /** @throws DomainError `invalid_parameters` if it is none. @param field where it came from */
  static parse(path: Buffer | string, field: string): ContainerPath {
    const given = typeof path === 'string' ? Buffer.from(path) : path;
    if (given.length === 0 || given.length > MOST_BYTES) throw refused(field, 'must have 1 to 4095 bytes');
    if (given[0] !== SLASH) throw refused(field, 'must be absolute: it must begin with /');
    if (given.includes(0)) throw refused(field, 'must not contain NUL');
    // One character for each byte, so that nothing is lost.
    const parts = given.toString('latin1').split('/');
    const kept = parts.filter((part) => part !== '' && part !== '.');
    return new ContainerPath(Buffer.from(`/${kept.join('/')}`, 'latin1'), parts.at(-1) === '' || parts.at(-1) === '.');
  }

  /** For what is to be changed, made or removed. @throws DomainError `invalid_parameters` if it names no entry */
  static parseEntry(path: Buffer | string, field: string): ContainerPath {
    const parsed = ContainerPath.parse(path, field);
    if (!parsed.isEntry) throw refused(field, 'must end with a name');
    return parsed;
  }

  /** Whether it ends with a name: the root does not, nor does what ends with `..`. */
  get isEntry(): boolean {
    const last = this.base.toString('latin1');
    return last !== '' && last !== '..';
  }

  /** The last of its names; empty for the root. */
  get base(): Buffer {
    return this.bytes.subarray(this.bytes.lastIndexOf(SLASH) + 1);
  }

  /** As scripts decode it: no argument of Docker's can hold bytes that are not UTF-8. */
  get argument(): string {
    return encodeArgument(this.bytes);
  }

  /** For reading: what is not UTF-8 is replaced. */
  get text(): string {
    return this.bytes.toString();
  }

  /** As it goes into a query. */
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

  /** Whether it is the other, or in it, as it is written. */
  isWithin(other: ContainerPath): boolean {
    const [own, outer] = [this, other].map(({ bytes }) => `${bytes.toString('latin1')}/`.replace('//', '/'));
    return own?.startsWith(outer ?? '') ?? false;
  }
}

/** @returns what `printf '%b'` of any shell makes into the bytes again */
export function encodeArgument(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[^\x21-\x5b\x5d-\x7e]/g, (char) => {
    return `\\0${char.charCodeAt(0).toString(8).padStart(3, '0')}`;
  });
}

function encodeQuery(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[^A-Za-z0-9/._~-]/g, (char) => {
    return `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  });
}

/**
 * A path in the query as its bytes: the framework's own parser leaves what is not UTF-8 as it came. undefined if there
 * is none.
 */
export const QueryPath = createParamDecorator((name: string, context: ExecutionContext): Buffer | undefined => {
  return pathInQuery(context.switchToHttp().getRequest<FastifyRequest>().raw.url ?? '', name);
});

/** @throws DomainError `invalid_parameters` if it is there more than once */
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
