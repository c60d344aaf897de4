import { nameServersIn, readNameServers } from './name-servers';

const files =
  (texts: Record<string, string>) =>
  (file: string): Promise<string> =>
    Promise.resolve(texts[file] ?? '');

describe('name servers', () => {
  it('must be read out of a resolv.conf', () => {
    const text = '# nameserver 1.1.1.1\nsearch example.org\nnameserver 10.0.0.2\n  nameserver\t2001:db8::1 \n';
    expect(nameServersIn(text)).toEqual(['10.0.0.2', '2001:db8::1']);
  });

  it.each([
    ['those that containers ask themselves', 'nameserver 10.0.0.2\nnameserver 10.0.0.2\n', '', ['10.0.0.2']],
    ['not those that only this machine can ask, nor IPv6', 'nameserver 127.0.0.1\nnameserver ::1\n', '', []],
    ['none behind systemd-resolved where there are others', 'nameserver 10.0.0.2', 'nameserver 9.9.9.9', ['10.0.0.2']],
    ['those behind systemd-resolved', 'nameserver 127.0.0.53\n', 'nameserver 192.0.2.53', ['192.0.2.53']],
    ['none where there is no file', '', '', []],
  ])('must be %s', async (_what, resolvConf, behind, expected) => {
    const read = files({ '/etc/resolv.conf': resolvConf, '/run/systemd/resolve/resolv.conf': behind });
    expect(await readNameServers(read)).toEqual(expected);
  });
});
