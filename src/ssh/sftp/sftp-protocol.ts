import { type FileAttributes, modeText } from '../../engine';

/**
 * The packets of SFTP version 3, as the programs of OpenSSH speak it: draft-ietf-secsh-filexfer-02, with the deviations
 * and extensions in OpenSSH's PROTOCOL. Paths are bytes.
 */

/** Larger than any packet of OpenSSH's. */
export const MOST_PACKET = 256 * 1024;
/** Maximum bytes of one read or write, as clients are told. */
export const MOST_DATA = 192 * 1024;

const REQUEST = {
  init: 1,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  fstat: 8,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rmdir: 15,
  realpath: 16,
  stat: 17,
  rename: 18,
  readlink: 19,
  symlink: 20,
  extended: 200,
} as const;

const ANSWER = { version: 2, status: 101, handle: 102, data: 103, name: 104, attributes: 105, extended: 201 } as const;

/** SSH_FX_…, in the order of their numbers. */
export const STATUS = {
  ok: 0,
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  unsupported: 8,
} as const;
export type StatusCode = (typeof STATUS)[keyof typeof STATUS];

/** SSH_FXF_… */
export const FLAG = { read: 1, write: 2, append: 4, create: 8, truncate: 16, exclusive: 32 } as const;

const HAS = { size: 1, owner: 2, mode: 4, times: 8, extended: 0x80000000 } as const;

/** The extensions that clients are offered, with their versions. */
const EXTENSIONS: readonly (readonly [name: string, version: string])[] = [
  ['posix-rename@openssh.com', '1'],
  ['hardlink@openssh.com', '1'],
  ['statvfs@openssh.com', '2'],
  ['limits@openssh.com', '1'],
];

/** Attributes that a client sets. */
export type GivenAttributes = Partial<FileAttributes>;

/** A request. `kind` is the name of its packet, or of the extension. */
export type SftpRequest = { readonly id: number } & (
  | { readonly kind: 'open'; readonly path: Buffer; readonly flags: number; readonly attributes: GivenAttributes }
  | { readonly kind: 'close' | 'fstat' | 'readdir'; readonly handle: string }
  | { readonly kind: 'read'; readonly handle: string; readonly offset: number; readonly length: number }
  | { readonly kind: 'write'; readonly handle: string; readonly offset: number; readonly data: Buffer }
  | { readonly kind: 'fsetstat'; readonly handle: string; readonly attributes: GivenAttributes }
  | {
      readonly kind: 'lstat' | 'stat' | 'opendir' | 'remove' | 'rmdir' | 'realpath' | 'readlink' | 'statvfs';
      readonly path: Buffer;
    }
  | { readonly kind: 'setstat' | 'mkdir'; readonly path: Buffer; readonly attributes: GivenAttributes }
  | { readonly kind: 'rename' | 'posix-rename' | 'symlink' | 'hardlink'; readonly from: Buffer; readonly to: Buffer }
  | { readonly kind: 'limits' | 'unknown' }
);

/** The client does not speak the protocol: the session ends. */
export class MalformedPacket extends Error {}

/** Cuts a stream of bytes into packets. */
export class PacketReader {
  private rest: Buffer = Buffer.alloc(0);

  push(data: Buffer): void {
    this.rest = this.rest.length === 0 ? data : Buffer.concat([this.rest, data]);
  }

  /** @returns the next whole packet without its length; null if there is none yet. @throws MalformedPacket */
  next(): Buffer | null {
    if (this.rest.length < 4) return null;
    const length = this.rest.readUInt32BE(0);
    if (length === 0 || length > MOST_PACKET) throw new MalformedPacket('the packet is too long');
    if (this.rest.length < 4 + length) return null;
    const packet = this.rest.subarray(4, 4 + length);
    this.rest = this.rest.subarray(4 + length);
    return packet;
  }
}

class Fields {
  private at = 0;

  constructor(private readonly packet: Buffer) {}

  byte(): number {
    return this.take(1).readUInt8(0);
  }

  integer(): number {
    return this.take(4).readUInt32BE(0);
  }

  /** @throws MalformedPacket also beyond 2^53 */
  long(): number {
    const value = Number(this.take(8).readBigUInt64BE(0));
    if (!Number.isSafeInteger(value)) throw new MalformedPacket('the number is too large');
    return value;
  }

  bytes(): Buffer {
    return this.take(this.integer());
  }

  handle(): string {
    return this.bytes().toString('latin1');
  }

  attributes(): GivenAttributes {
    const flags = this.integer();
    const size = flags & HAS.size ? { size: this.long() } : {};
    const owner = flags & HAS.owner ? { uid: this.integer(), gid: this.integer() } : {};
    const mode = flags & HAS.mode ? { mode: this.integer() } : {};
    const times = flags & HAS.times ? { accessedAt: this.integer(), modifiedAt: this.integer() } : {};
    const isExtended = (flags & HAS.extended) !== 0;
    for (let left = isExtended ? this.integer() : 0; left > 0; left -= 1) {
      this.bytes();
      this.bytes();
    }
    return { ...size, ...owner, ...mode, ...times };
  }

  private take(length: number): Buffer {
    const end = this.at + length;
    if (end > this.packet.length) throw new MalformedPacket('the packet is too short');
    const taken = this.packet.subarray(this.at, end);
    this.at = end;
    return taken;
  }
}

/** Whether the packet is the client's first one. */
export function isInit(packet: Buffer): boolean {
  return packet[0] === REQUEST.init;
}

/** @throws MalformedPacket */
export function parseRequest(packet: Buffer): SftpRequest {
  const fields = new Fields(packet);
  const type = fields.byte();
  const id = fields.integer();
  switch (type) {
    case REQUEST.open:
      return { id, kind: 'open', path: fields.bytes(), flags: fields.integer(), attributes: fields.attributes() };
    case REQUEST.close:
      return { id, kind: 'close', handle: fields.handle() };
    case REQUEST.read:
      return { id, kind: 'read', handle: fields.handle(), offset: fields.long(), length: fields.integer() };
    case REQUEST.write:
      return { id, kind: 'write', handle: fields.handle(), offset: fields.long(), data: fields.bytes() };
    case REQUEST.lstat:
      return { id, kind: 'lstat', path: fields.bytes() };
    case REQUEST.fstat:
      return { id, kind: 'fstat', handle: fields.handle() };
    case REQUEST.setstat:
      return { id, kind: 'setstat', path: fields.bytes(), attributes: fields.attributes() };
    case REQUEST.fsetstat:
      return { id, kind: 'fsetstat', handle: fields.handle(), attributes: fields.attributes() };
    case REQUEST.opendir:
      return { id, kind: 'opendir', path: fields.bytes() };
    case REQUEST.readdir:
      return { id, kind: 'readdir', handle: fields.handle() };
    case REQUEST.remove:
      return { id, kind: 'remove', path: fields.bytes() };
    case REQUEST.mkdir:
      return { id, kind: 'mkdir', path: fields.bytes(), attributes: fields.attributes() };
    case REQUEST.rmdir:
      return { id, kind: 'rmdir', path: fields.bytes() };
    case REQUEST.realpath:
      return { id, kind: 'realpath', path: fields.bytes() };
    case REQUEST.stat:
      return { id, kind: 'stat', path: fields.bytes() };
    case REQUEST.rename:
      return { id, kind: 'rename', from: fields.bytes(), to: fields.bytes() };
    case REQUEST.readlink:
      return { id, kind: 'readlink', path: fields.bytes() };
    case REQUEST.symlink:
      // OpenSSH sends the target first, contrary to the draft.
      return { id, kind: 'symlink', from: fields.bytes(), to: fields.bytes() };
    case REQUEST.extended:
      return parseExtended(id, fields);
    default:
      return { id, kind: 'unknown' };
  }
}

function parseExtended(id: number, fields: Fields): SftpRequest {
  switch (fields.bytes().toString('latin1')) {
    case 'posix-rename@openssh.com':
      return { id, kind: 'posix-rename', from: fields.bytes(), to: fields.bytes() };
    case 'hardlink@openssh.com':
      return { id, kind: 'hardlink', from: fields.bytes(), to: fields.bytes() };
    case 'statvfs@openssh.com':
      return { id, kind: 'statvfs', path: fields.bytes() };
    case 'limits@openssh.com':
      return { id, kind: 'limits' };
    default:
      return { id, kind: 'unknown' };
  }
}

type Field = Buffer | { readonly long: number } | number;

function packetOf(type: number, fields: readonly Field[]): Buffer {
  const parts = fields.map((field) => {
    if (Buffer.isBuffer(field)) return Buffer.concat([integer(field.length), field]);
    return typeof field === 'number' ? integer(field) : long(field.long);
  });
  const body = Buffer.concat([Buffer.of(type), ...parts]);
  return Buffer.concat([integer(body.length), body]);
}

function integer(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

function long(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(BigInt(Math.max(0, value)));
  return bytes;
}

/** The answer to the client's first packet: version 3, and the extensions. */
export function versionPacket(): Buffer {
  return packetOf(ANSWER.version, [3, ...EXTENSIONS.flat().map((text) => Buffer.from(text))]);
}

export function statusPacket(id: number, code: StatusCode, message: string): Buffer {
  return packetOf(ANSWER.status, [id, code, Buffer.from(message), Buffer.from('en')]);
}

export function handlePacket(id: number, handle: string): Buffer {
  return packetOf(ANSWER.handle, [id, Buffer.from(handle, 'latin1')]);
}

export function dataPacket(id: number, data: Buffer): Buffer {
  return packetOf(ANSWER.data, [id, data]);
}

export function attributesPacket(id: number, attributes: FileAttributes): Buffer {
  return packetOf(ANSWER.attributes, [id, ...fieldsOf(attributes)]);
}

/** A name with its attributes; null where only the name matters. */
export interface NamedEntry {
  readonly name: Buffer;
  readonly attributes: FileAttributes | null;
}

export function namePacket(id: number, entries: readonly NamedEntry[]): Buffer {
  const fields = entries.flatMap(({ name, attributes }): Field[] =>
    attributes ? [name, longName(name, attributes), ...fieldsOf(attributes)] : [name, name, 0],
  );
  return packetOf(ANSWER.name, [id, entries.length, ...fields]);
}

/** @param numbers of 64 bits each */
export function extendedPacket(id: number, numbers: readonly number[]): Buffer {
  return packetOf(ANSWER.extended, [id, ...numbers.map((number) => ({ long: number }))]);
}

function fieldsOf({ size, uid, gid, mode, accessedAt, modifiedAt }: FileAttributes): Field[] {
  return [HAS.size | HAS.owner | HAS.mode | HAS.times, { long: size }, uid, gid, mode, accessedAt, modifiedAt];
}

/** A line as of `ls -l`, which `sftp` shows. */
function longName(name: Buffer, { mode, uid, gid, size, modifiedAt }: FileAttributes): Buffer {
  const day = new Date(modifiedAt * 1000).toISOString().slice(0, 16).replace('T', ' ');
  const words = [modeText(mode), '1', String(uid).padEnd(8), String(gid).padEnd(8), String(size).padStart(8), day, ''];
  return Buffer.concat([Buffer.from(words.join(' ')), name]);
}
