import type { ListeningPort } from '../port/engine-ports';
import { ListeningTables } from './listening-ports';

/** Lines as Linux and gVisor write them. */
const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0000000000000000 100 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0000000000000000 100 0
   2: 020011AC:1F90 010011AC:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0000000000000000 20 4
`;
const TCP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   2: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
   3: B80D0120000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000
`;

describe('the listening ports in a container', () => {
  /** @param step the length of the pieces in which the tables arrive */
  function listed(text: string, step = text.length): ListeningPort[] {
    const tables = new ListeningTables();
    for (let at = 0; at < text.length; at += step) tables.take(text.slice(at, at + step));
    return tables.ports();
  }

  it.each([1, 7, 150])('are the same in pieces of %d characters', (step) => {
    expect(listed(TCP + TCP6, step)).toEqual(listed(TCP + TCP6));
  });

  it('are the lowest 256, each with 8 addresses at most', () => {
    const line = (address: number, port: number): string =>
      `   0: ${hex(address, 8)}:${hex(port, 4)} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 11 1\n`;
    const hex = (number: number, digits: number): string => number.toString(16).toUpperCase().padStart(digits, '0');
    const many = Array.from({ length: 5_000 }, (_each, at) => line(0, 60_000 - at)).join('');
    const addresses = Array.from({ length: 300 }, (_each, at) => line(0x0100007f + at * 65_536, 55_002)).join('');
    const ports = listed(many + addresses, 4096);
    expect(ports.map(({ port }) => port)).toEqual(Array.from({ length: 256 }, (_each, at) => 55_001 + at));
    expect(ports[1]?.addresses).toHaveLength(8);
    expect(JSON.stringify(ports).length).toBeLessThan(16_384);
  });

  it('must be those of both tables, in ascending order, without connections', () => {
    expect(listed(TCP + TCP6)).toEqual([
      { port: 80, addresses: ['::1'] },
      { port: 3000, addresses: ['127.0.0.1', '::'] },
      { port: 8080, addresses: ['0.0.0.0'] },
      { port: 8081, addresses: ['127.0.0.1'] },
      { port: 8082, addresses: ['2001:db8::1'] },
    ]);
  });

  it('must be none in anything else', () => {
    expect(listed('')).toEqual([]);
    expect(listed('cat: /proc/net/tcp: No such file or directory\n')).toEqual([]);
  });
});
