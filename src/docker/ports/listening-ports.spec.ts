import { listeningPorts } from './listening-ports';

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
  it('must be those of both tables, in ascending order, without connections', () => {
    expect(listeningPorts(TCP + TCP6)).toEqual([
      { port: 80, addresses: ['::1'] },
      { port: 3000, addresses: ['127.0.0.1', '::'] },
      { port: 8080, addresses: ['0.0.0.0'] },
      { port: 8081, addresses: ['127.0.0.1'] },
      { port: 8082, addresses: ['2001:db8::1'] },
    ]);
  });

  it('must be none in anything else', () => {
    expect(listeningPorts('')).toEqual([]);
    expect(listeningPorts('cat: /proc/net/tcp: No such file or directory\n')).toEqual([]);
  });
});
