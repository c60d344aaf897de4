import { IptablesError } from './iptables';
import { remoteHost } from './remote-host';

describe('the network of another machine', () => {
  const asked: string[][] = [];
  let said = '';
  const host = (): ReturnType<typeof remoteHost> =>
    remoteHost(
      'node1',
      (program, args, input = '') => {
        asked.push([program, ...args, input]);
        return said === '' ? Promise.reject(new IptablesError('no helper')) : Promise.resolve(said);
      },
      () => Promise.resolve(['192.0.2.53']),
    );

  beforeEach(() => asked.splice(0));

  it('must be read by one program there, once for all that one check asks', async () => {
    const there = ['nameserver 192.0.2.54', 'nameserver 127.0.0.53', 'nameserver 192.0.2.53'].join('\n');
    said = `---berth--- /proc/net/dev\n  br-1: 1 2\n\n---berth--- /etc/resolv.conf\n${there}\n\n`;
    const other = host();
    expect(await other.read('/proc/net/dev')).toBe('  br-1: 1 2\n\n');
    expect(await other.read('/proc/net/if_inet6')).toBeNull();
    // Those that sandboxes are told, and those that their Docker asks.
    expect(await other.nameServers()).toEqual(['192.0.2.53', '192.0.2.54']);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.[0]).toBe('sh');
  });

  it('must be asked and told by the programs of iptables there', async () => {
    said = '-P PREROUTING ACCEPT\n-N BERTH-1\n';
    expect(await host().raw.rules()).toEqual(['-P PREROUTING ACCEPT', '-N BERTH-1']);
    await host().ipv6.apply(['-F BERTH-1']);
    expect(asked).toEqual([
      ['iptables', '-w', '5', '-t', 'raw', '-S', ''],
      ['ip6tables-restore', '-w', '5', '--noflush', '*mangle\n-F BERTH-1\nCOMMIT\n'],
    ]);
  });

  it('must be read again after a failure', async () => {
    const other = host();
    said = '';
    await expect(other.read('/proc/net/dev')).rejects.toThrow('no helper');
    said = '---berth--- /proc/net/dev\nlo: 1\n';
    expect(await other.read('/proc/net/dev')).toBe('lo: 1\n');
  });
});
