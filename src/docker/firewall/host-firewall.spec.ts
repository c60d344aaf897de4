import { Logger } from '@nestjs/common';
import { ConfigError } from '../../config';
import { HostFirewall, type HostNetwork } from './host-firewall';
import { IptablesError, type PacketFilter } from './iptables';

const network = { instance: 'prod', networkId: 'a1b2c3d4e5f6'.padEnd(64, '0'), bridge: 'br-a1b2c3d4e5f6' };
const HEADINGS = 'Inter-|   Receive\n face |bytes    packets\n';

/** A table that takes what it is told, and prints it; or refuses. */
class TestFilter implements PacketFilter {
  lines: string[] = ['-P PREROUTING ACCEPT'];
  changes = 0;
  refusal: string | null = null;
  /** How many changes come too late. */
  overtaken = 0;

  rules(): Promise<string[]> {
    return this.refusal === null ? Promise.resolve(this.lines) : Promise.reject(new IptablesError(this.refusal));
  }

  apply(lines: readonly string[]): Promise<void> {
    if (this.overtaken > 0) {
      this.overtaken -= 1;
      return Promise.reject(new IptablesError('iptables-restore refuses: line 9 failed'));
    }
    this.changes += 1;
    this.lines = lines.filter((line) => /^-[AI] /.test(line)).map((line) => line.replace(/^-I (\S+) 1/, '-A $1'));
    return Promise.resolve();
  }
}

describe('the host firewall', () => {
  const warned = jest.spyOn(Logger.prototype, 'warn').mockImplementation();
  const failed = jest.spyOn(Logger.prototype, 'error').mockImplementation();
  const told = jest.spyOn(Logger.prototype, 'log').mockImplementation();
  let ipv4: TestFilter;
  let ipv6: TestFilter;
  let raw: TestFilter;
  let files: Record<string, string>;

  beforeEach(() => {
    jest.clearAllMocks();
    ipv4 = new TestFilter();
    ipv6 = new TestFilter();
    raw = new TestFilter();
    files = {
      '/proc/net/dev': `${HEADINGS}    lo: 1 2\nbr-a1b2c3d4e5f6: 3 4\n`,
      '/proc/net/if_inet6': '',
      '/proc/sys/net/bridge/bridge-nf-call-iptables': '1\n',
    };
  });
  afterAll(() => jest.restoreAllMocks());

  function firewall(SANDBOX_FIREWALL: 'required' | 'preferred' | 'off', blocked: string[] = []): HostFirewall {
    const host: HostNetwork = {
      machine: 'this machine',
      ipv4,
      ipv6,
      raw,
      nat: new TestFilter(),
      nameServers: () => Promise.resolve([]),
      read: (file) => Promise.resolve(files[file] ?? null),
    };
    return new HostFirewall(
      { SANDBOX_FIREWALL, SANDBOX_BLOCKED_NETWORKS: blocked, SANDBOX_ALLOWED_SERVICES: [], SANDBOX_DNS: [] },
      host,
    );
  }

  it.each(['required', 'preferred'] as const)(
    'must be enforced with %s where it can be, for both families',
    async (manner) => {
      const made = firewall(manner, ['10.1.2.3/8', 'fc00::/7']);
      await made.prepare([network]);
      expect(made.state).toBe('enforced');
      expect(ipv4.lines).toContain('-A BERTH-a1b2c3d4e5f6 -d 10.0.0.0/8 -j DROP');
      expect(ipv6.lines).toContain('-A BERTH-a1b2c3d4e5f6 -j DROP');
      expect(warned).not.toHaveBeenCalled();
    },
  );

  it('must block the other machines of a cluster, however they are listed, from the next check on', async () => {
    const made = firewall('required', ['10.0.0.0/8']);
    await made.prepare([network]);
    const blocked = (): string[] => ipv4.lines.filter((line) => / -d (?!169)/.test(line)).map((line) => line.slice(22));
    made.blockAlso(['192.0.2.8', '192.0.2.7', 'node3.example', '192.0.2.8', '2001:db8::7']);
    await made.maintain([network]);
    expect(blocked()).toEqual(['-d 10.0.0.0/8 -j DROP', '-d 192.0.2.7/32 -j DROP', '-d 192.0.2.8/32 -j DROP']);
    made.blockAlso(['192.0.2.7']);
    await made.maintain([network]);
    expect(blocked()).toEqual(['-d 10.0.0.0/8 -j DROP', '-d 192.0.2.7/32 -j DROP']);
  });

  it('must change nothing when all is as it was', async () => {
    const made = firewall('required');
    await made.prepare([network]);
    await made.maintain([network]);
    await firewall('preferred').prepare([network]);
    expect([ipv4.changes, ipv6.changes]).toEqual([1, 1]);
  });

  it('must look again where another process was faster, but not for ever', async () => {
    ipv4.overtaken = 2;
    await firewall('required').prepare([network]);
    expect(ipv4.changes).toBe(1);
    ipv4.lines = [];
    ipv4.overtaken = 3;
    await expect(firewall('required').prepare([network])).rejects.toThrow(/line 9 failed/);
  });

  it('must not need ip6tables where the kernel has no IPv6', async () => {
    delete files['/proc/net/if_inet6'];
    ipv6.refusal = 'the program ip6tables is not installed';
    const made = firewall('required');
    await made.prepare([network]);
    expect(made.state).toBe('enforced');
  });

  it('must not have allow lists enforced where there is no table raw, and say so, but everything else', async () => {
    raw.refusal = 'iptables refuses: table does not exist';
    const made = firewall('required');
    await made.prepare([network]);
    expect([made.state, made.lists]).toEqual(['enforced', 'unsupported']);
    expect(warned).toHaveBeenCalledWith(expect.stringContaining('no sandbox on this machine can have an allow list'));
    const sandbox = { macAddress: '0a:00:00:00:00:01', allow: ['192.0.2.1/32:443'] };
    await expect(made.admit('prod', sandbox)).rejects.toMatchObject({ code: 'docker_error' });
    await expect(made.secure([{ ...network, isRestricted: true }])).rejects.toMatchObject({ code: 'docker_error' });
    raw.refusal = null;
    await made.maintain([network]);
    expect([made.lists, told.mock.calls.flat()]).toEqual([
      'enforced',
      ['allow lists hold the sandboxes of this machine again'],
    ]);
  });

  it('must touch nothing where it is off', async () => {
    const made = firewall('off');
    await made.prepare([network]);
    await made.maintain([network]);
    expect(made.state).toBe('off');
    expect(ipv4.changes + ipv6.changes).toBe(0);
  });

  describe.each<[string, () => void, RegExp]>([
    [
      'the bridge is not on this machine',
      () => (files['/proc/net/dev'] = HEADINGS),
      /br-a1b2c3d4e5f6.*remote or rootless/,
    ],
    [
      'bridges are not filtered',
      () => (files['/proc/sys/net/bridge/bridge-nf-call-iptables'] = '0\n'),
      /bridge-nf-call-iptables is not 1/,
    ],
    ['nothing filters bridges', () => delete files['/proc/sys/net/bridge/bridge-nf-call-iptables'], /bridge-nf-call/],
    ['iptables is not there', () => (ipv4.refusal = 'the program iptables is not installed'), /not installed/],
    ['IPv6 stays open', () => (ipv6.refusal = 'ip6tables refuses: Permission denied'), /ip6tables refuses/],
  ])('where %s', (_what, spoil, reason) => {
    beforeEach(spoil);

    it('must not let Berth start if it is required, and say why', async () => {
      const refusal = firewall('required').prepare([network]);
      await expect(refusal).rejects.toThrow(ConfigError);
      await expect(refusal).rejects.toThrow(reason);
    });

    it('must warn and be reported if it is preferred', async () => {
      const made = firewall('preferred');
      await made.prepare([network]);
      expect(made.state).toBe('unsupported');
      expect(warned).toHaveBeenCalledWith(expect.stringMatching(reason));
      await made.secure([network]);
    });
  });

  it('must put back what has vanished', async () => {
    const made = firewall('preferred');
    await made.prepare([network]);
    ipv4.lines = [];
    await made.maintain([network]);
    expect(ipv4.lines).not.toEqual([]);
    expect(failed).not.toHaveBeenCalled();
  });

  it('must say once that it is lost, let no sandbox start if it is required, and say that it is back', async () => {
    const made = firewall('required');
    await made.prepare([network]);
    ipv4.refusal = 'iptables refuses: busy';
    await made.maintain([network]);
    await made.maintain([network]);
    expect(made.state).toBe('unsupported');
    expect(failed).toHaveBeenCalledTimes(1);
    expect(made.isSecure).toBe(false);
    await expect(made.secure([network])).rejects.toMatchObject({ name: 'EngineError', code: 'docker_error' });
    ipv4.refusal = null;
    await made.secure([network]);
    expect(made.isSecure).toBe(true);
    expect(told).toHaveBeenCalledTimes(1);
  });
});
