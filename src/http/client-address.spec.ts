import { ClientAddress } from './client-address';

const request = (remoteAddress: string | undefined, forwarded?: string) => ({
  socket: { remoteAddress },
  headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
});

describe("a client's address", () => {
  it.each<[string, readonly string[], string | undefined, string | undefined, string]>([
    ['the connection’s', [], '192.0.2.1', undefined, '192.0.2.1'],
    ['the connection’s, whatever it says, if it is no proxy', ['10.0.0.0/8'], '192.0.2.1', '1.1.1.1', '192.0.2.1'],
    ['the connection’s if nobody is trusted', [], '127.0.0.1', '1.1.1.1', '127.0.0.1'],
    ['what a trusted proxy saw', ['loopback'], '127.0.0.1', '192.0.2.1', '192.0.2.1'],
    ['what the outermost of several saw', ['10.0.0.0/8'], '10.0.0.1', '192.0.2.1, 10.0.0.2', '192.0.2.1'],
    ['not what the client wrote before', ['10.0.0.0/8'], '10.0.0.1', '10.9.9.9, 192.0.2.1', '192.0.2.1'],
    ['not what the client wrote before, twice', ['loopback'], '::1', '1.1.1.1, 192.0.2.1, 127.0.0.1', '192.0.2.1'],
    ['the proxy’s own without a header', ['loopback'], '127.0.0.1', undefined, '127.0.0.1'],
    ['the outermost proxy’s if there is no other', ['loopback'], '127.0.0.1', '127.0.0.2', '127.0.0.2'],
    ['the proxy’s with an empty header', ['loopback'], '127.0.0.1', '', '127.0.0.1'],
    ['empty once the connection is gone', ['loopback'], undefined, '1.1.1.1', ''],
  ])('must be %s', (_what, trusted, remote, forwarded, expected) => {
    expect(new ClientAddress(trusted).of(request(remote, forwarded))).toBe(expected);
  });
});
