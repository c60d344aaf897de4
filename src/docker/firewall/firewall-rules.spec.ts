import { chainName, ipv4Rules, ipv6Rules, planFirewall, planIsolation } from './firewall-rules';

const networkId = 'a1b2c3d4e5f6'.padEnd(64, '0');
const network = { instance: 'prod', networkId, bridge: 'br-a1b2c3d4e5f6' };
const chain = 'BERTH-a1b2c3d4e5f6';
const wanted = ipv4Rules(network, {
  blocked: ['10.0.0.0/8'],
  allowed: ['192.0.2.7:3128'],
  nameServers: ['10.0.0.2'],
});

/** The table as iptables prints it when all is right, with rules of others around. */
const OTHERS = ['-P PREROUTING ACCEPT', '-N KUBE', '-A PREROUTING -j KUBE'];
const right = [...OTHERS, `-N ${chain}`, wanted.jump, ...wanted.rules];

const plan = (current: readonly string[], interfaces = ['br-a1b2c3d4e5f6']) =>
  planFirewall(current, { wanted, instance: 'prod', isInterface: (name) => interfaces.includes(name) });

const NOTHING = { needed: [], tidying: [] };
const rebuilt = [`:${chain} - [0:0]`, ...wanted.rules];
const newJump = wanted.jump.replace('-A PREROUTING', '-I PREROUTING 1');

describe('the rules for sandboxes', () => {
  it('must be these and no other', () => {
    expect(wanted).toEqual({
      chain,
      jump: `-A PREROUTING -i br-a1b2c3d4e5f6 -m comment --comment "berth:prod" -j ${chain}`,
      rules: [
        `-A ${chain} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN`,
        `-A ${chain} -m conntrack --ctstate NEW -m connlimit --connlimit-above 2048 --connlimit-mask 32 --connlimit-saddr -j DROP`,
        `-A ${chain} -p tcp -m conntrack --ctstate NEW -m hashlimit --hashlimit-above 50/sec --hashlimit-burst 1000 --hashlimit-mode srcip --hashlimit-name ${chain} -j DROP`,
        `-A ${chain} -d 10.0.0.2/32 -p udp -m udp --dport 53 -j RETURN`,
        `-A ${chain} -d 10.0.0.2/32 -p tcp -m tcp --dport 53 -j RETURN`,
        `-A ${chain} -d 192.0.2.7/32 -p tcp -m tcp --dport 3128 -j RETURN`,
        `-A ${chain} -m addrtype ! --dst-type UNICAST -j DROP`,
        `-A ${chain} -d 169.254.0.0/16 -j DROP`,
        `-A ${chain} -d 10.0.0.0/8 -j DROP`,
      ],
    });
  });

  it('must close IPv6 as a whole', () => {
    expect(ipv6Rules(network).rules).toEqual([`-A ${chain} -j DROP`]);
  });

  it('must be in a chain whose name iptables takes', () => {
    expect(chainName(networkId).length).toBeLessThanOrEqual(28);
  });
});

describe('the change of the rules', () => {
  it('must be none where all is right, whether iptables writes quotes or not', () => {
    expect(plan(right)).toEqual(NOTHING);
    expect(plan(right.map((line) => line.replaceAll('"', '')))).toEqual(NOTHING);
  });

  it.each([
    ['there is nothing', OTHERS, true],
    ['the way into the chain is gone', right.filter((line) => line !== wanted.jump), true],
    ['the way in is another', right.map((line) => line.replace('-i br-a1b2c3d4e5f6', '-i eth0')), true],
    ['the chain is empty', right.filter((line) => !line.startsWith(`-A ${chain} `)), false],
    ['a rule is gone', right.filter((line) => !line.includes('169.254')), false],
    ['a rule was added', [...right, `-A ${chain} -j RETURN`], false],
    ['the rules are in another order', [...OTHERS, wanted.jump, ...wanted.rules.toReversed()], false],
  ])('must put everything in place at once where %s', (_what, current, needsWayIn) => {
    expect(plan(current).needed).toEqual([...rebuilt, ...(needsWayIn ? [newJump] : [])]);
  });

  it('must leave one way in of two, and be refused as a whole to a process that comes second', () => {
    const out = wanted.jump.replace('-A', '-D');
    expect(plan([...right, wanted.jump])).toEqual({ needed: [], tidying: [out, out, newJump] });
  });

  const former = '-A PREROUTING -i br-000000000001 -m comment --comment "berth:prod" -j BERTH-000000000001';
  const cleaned = [former.replace('-A', '-D'), '-F BERTH-000000000001', '-X BERTH-000000000001'];

  it('must take away what an earlier network of the instance left', () => {
    expect(plan([...right, former])).toEqual({ needed: [], tidying: cleaned });
    expect(plan([...OTHERS, former])).toEqual({ needed: [...rebuilt, newJump], tidying: cleaned });
  });

  it('must leave a network of the same instance that is there, as on another Docker of this machine', () => {
    expect(plan([...right, former], ['br-a1b2c3d4e5f6', 'br-000000000001'])).toEqual(NOTHING);
  });

  it('must leave what belongs to other instances, though one’s name begins like this one’s', () => {
    const others = [former.replace('berth:prod', 'berth:prod2'), former.replace('berth:prod', 'x')];
    expect(plan([...right, ...others])).toEqual(NOTHING);
  });
});

describe('the rules between the networks of all Berths on a host', () => {
  const ways = (bridge: string, instance = 'prod'): string[] => [
    `-A FORWARD -i ${bridge} -m comment --comment "berth:${instance}" -j BERTH-BRIDGES`,
    `-A BERTH-BRIDGES -o ${bridge} -m comment --comment "berth:${instance}" -j DROP`,
  ];
  const isolation = (current: readonly string[]) =>
    planIsolation(current, { network, isInterface: (name) => name === network.bridge });
  const [way = '', end = ''] = ways(network.bridge);
  const there = [...OTHERS, '-N BERTH-BRIDGES', ...ways('br-2', 'other'), way, end];
  const first = way.replace('-A FORWARD', '-I FORWARD 1');

  it('drops what leaves one for another, and leaves the rules of other instances', () => {
    expect(isolation(OTHERS)).toEqual({ needed: ['-N BERTH-BRIDGES', first, end], tidying: [] });
    expect(isolation(['-N BERTH-BRIDGES', ...ways('br-2', 'other')]).needed).toEqual([first, end]);
    expect(isolation(there)).toEqual(NOTHING);
    expect(isolation(there.map((line) => line.replaceAll('"', '')))).toEqual(NOTHING);
    expect(isolation(there.filter((line) => line !== end)).needed).toEqual([end]);
  });

  it('removes duplicates, and the rules of networks that are gone', () => {
    const removed = end.replace('-A', '-D');
    expect(isolation([...there, end]).tidying).toEqual([removed, removed, end]);
    const gone = ways('br-3');
    expect(isolation([...there, ...gone]).tidying).toEqual(gone.map((line) => line.replace('-A', '-D')));
  });
});
