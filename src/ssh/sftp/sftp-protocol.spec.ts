import * as fc from 'fast-check';
import { MalformedPacket, MOST_PACKET, PacketReader, parseRequest, statusPacket } from './sftp-protocol';

const string = (text: string | Buffer): Buffer => {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};
const integer = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const long = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};
const packet = (type: number, ...fields: readonly Buffer[]): Buffer => Buffer.concat([Buffer.of(type), ...fields]);

describe('packets of SFTP', () => {
  it('must be what was sent, whatever the pieces that they came in', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 5000 }), { maxLength: 8 }),
        fc.integer({ min: 1, max: 3000 }),
        (bodies, size) => {
          const all = Buffer.concat(bodies.map((body) => string(Buffer.from(body))));
          const reader = new PacketReader();
          const read: Buffer[] = [];
          for (let at = 0; at < all.length; at += size) {
            reader.push(all.subarray(at, at + size));
            for (let next = reader.next(); next; next = reader.next()) read.push(next);
          }
          expect(read.map((each) => [...each])).toEqual(bodies.map((body) => [...body]));
        },
      ),
    );
  });

  it.each([0, MOST_PACKET + 1, 0xffffffff])('must not be of %d bytes', (length) => {
    const reader = new PacketReader();
    reader.push(integer(length));
    expect(() => reader.next()).toThrow(MalformedPacket);
  });

  it('must be read with names of any bytes, offsets beyond 32 bits, and attributes', () => {
    const name = Buffer.from([0x2f, 0xff, 0x0a, 0x20]);
    expect(parseRequest(packet(17, integer(7), string(name)))).toEqual({ id: 7, kind: 'stat', path: name });
    const write = packet(6, integer(8), string('1'), long(5_000_000_000n), string('data'));
    const expected = { id: 8, kind: 'write', handle: '1', offset: 5_000_000_000, data: Buffer.from('data') };
    expect(parseRequest(write)).toEqual(expected);
    const attributes = [integer(0x8000000f), long(9n), integer(1), integer(2), integer(0o644)];
    const rest = [integer(10), integer(11), integer(1), string('name'), string('value')];
    expect(parseRequest(packet(9, integer(1), string('/a'), ...attributes, ...rest))).toEqual({
      id: 1,
      kind: 'setstat',
      path: Buffer.from('/a'),
      attributes: { size: 9, uid: 1, gid: 2, mode: 0o644, accessedAt: 10, modifiedAt: 11 },
    });
    expect(parseRequest(packet(200, integer(2), string('posix-rename@openssh.com'), string('a'), string('b')))).toEqual(
      {
        id: 2,
        kind: 'posix-rename',
        from: Buffer.from('a'),
        to: Buffer.from('b'),
      },
    );
    expect(parseRequest(packet(200, integer(3), string('other@example.test')))).toEqual({ id: 3, kind: 'unknown' });
    expect(parseRequest(packet(99, integer(4)))).toEqual({ id: 4, kind: 'unknown' });
  });

  it('must be whole, with numbers that can be', () => {
    const whole = packet(6, integer(8), string('1'), long(1n), string('data'));
    for (let length = 0; length < whole.length; length += 1) {
      expect(() => parseRequest(whole.subarray(0, length))).toThrow(MalformedPacket);
    }
    const large = packet(5, integer(1), string('1'), long(2n ** 60n), integer(1));
    expect(() => parseRequest(large)).toThrow(MalformedPacket);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
        try {
          parseRequest(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedPacket);
        }
      }),
    );
  });

  it('must be answered with their length, number and code', () => {
    const answer = statusPacket(5, 4, 'no');
    expect(answer.readUInt32BE(0)).toBe(answer.length - 4);
    expect([answer[4], answer.readUInt32BE(5), answer.readUInt32BE(9)]).toEqual([101, 5, 4]);
  });
});
