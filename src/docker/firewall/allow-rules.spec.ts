import { listsChain, planLists, removalOf, type RestrictedSandbox, staleChains } from './allow-rules';
import { ipv4Rules, planTranslation } from './firewall-rules';

const instance = 'prod';
const lists = listsChain(instance);
const prefix = lists.replace('allow', '');
const one: RestrictedSandbox = {
  macAddress: '0a:00:00:00:00:01',
  allow: ['10.1.2.3/32:443', '203.0.113.0/24:53/udp', '0.0.0.0/0:80'],
};
const two: RestrictedSandbox = { macAddress: '0a:00:00:00:00:02', allow: ['10.1.2.3/32:443'] };
const chain = `${prefix}0a0000000001`;
const ofOne = [
  `-A ${chain} -d 10.1.2.3/32 -p tcp -m tcp --dport 443 -j RETURN`,
  `-A ${chain} -p tcp -m tcp --dport 80 -j RETURN`,
  `-A ${chain} -d 203.0.113.0/24 -p udp -m udp --dport 53 -j RETURN`,
  `-A ${chain} -j DROP`,
];
const dispatch = `-A ${lists} -m mac --mac-source 0a:00:00:00:00:01 -g ${chain}`;
const drop = `-A ${lists} -j DROP`;

/** The table as iptables prints it when all is right for the first sandbox. */
const right = [
  '-P PREROUTING ACCEPT',
  '-N OTHER',
  `-N ${chain}`,
  `-N ${lists}`,
  '-A OTHER -j DROP',
  ...rulesOf(one),
  dispatch,
  drop,
];
const plan = (current: readonly string[], sandboxes = [one]): string[] => planLists(current, { instance, sandboxes });

/** As the plan for an empty table has them. */
function rulesOf(sandbox: RestrictedSandbox): string[] {
  const own = `${prefix}${sandbox.macAddress.replaceAll(':', '')}`;
  return planLists([], { instance, sandboxes: [sandbox] }).filter((line) => line.startsWith(`-A ${own} `));
}

describe('the rules of an allow list', () => {
  it('must let the listed ports through, and drop everything else', () => {
    expect(rulesOf(one).toSorted()).toEqual(ofOne.toSorted());
    expect(rulesOf(one).at(-1)).toBe(`-A ${chain} -j DROP`);
    expect(plan([])).toEqual([`-N ${lists}`, `:${chain} - [0:0]`, ...rulesOf(one), dispatch, drop]);
  });

  it('must be in chains whose names iptables takes, and which no other instance has', () => {
    expect(chain.length).toBeLessThanOrEqual(28);
    expect(listsChain('prod2')).not.toBe(lists);
  });

  it('must not be changed where they are right, however iptables prints the address of a network card', () => {
    expect(plan(right)).toEqual([]);
    expect(plan(right.map((line) => line.replace('0a:00:00:00:00:01', '0A:00:00:00:00:01')))).toEqual([]);
    expect(plan(right, [])).toEqual([]);
  });

  it('must be added before the end, without a change of what other processes have added', () => {
    const added = [`:${prefix}0a0000000002 - [0:0]`, ...rulesOf(two)];
    const way = `-I ${lists} 1 -m mac --mac-source 0a:00:00:00:00:02 -g ${prefix}0a0000000002`;
    expect(plan(right, [two])).toEqual([...added, way]);
  });

  it.each([
    ['a rule of a list is gone', right.filter((line) => !line.includes('--dport 443'))],
    ['a list has one more', right.flatMap((line) => (line === dispatch ? [`-A ${chain} -j RETURN`, line] : [line]))],
  ])('must be put right where %s', (_what, current) => {
    expect(plan(current)).toEqual([`:${chain} - [0:0]`, ...rulesOf(one)]);
  });

  it.each([
    ['the end is gone', right.filter((line) => line !== drop)],
    ['somebody let everything through', right.map((line) => (line === drop ? `-A ${lists} -j RETURN` : line))],
    ['the end comes first', [...right.filter((line) => line !== dispatch), dispatch]],
    ['it is empty', right.filter((line) => line !== dispatch && line !== drop)],
  ])('must end in a drop again where %s', (_what, current) => {
    expect(plan(current)).toEqual([`:${lists} - [0:0]`, dispatch, drop]);
  });

  it('must be taken away with their sandbox alone', () => {
    expect(staleChains(right, { instance, sandboxes: [one] })).toEqual([]);
    expect(staleChains(right, { instance: 'prod2', sandboxes: [] })).toEqual([]);
    expect(staleChains(right, { instance, sandboxes: [two] })).toEqual([chain]);
    expect(removalOf(right, [chain])).toEqual([dispatch.replace('-A', '-D'), `-F ${chain}`, `-X ${chain}`]);
    expect(removalOf(right, [])).toEqual([]);
  });
});

describe('the rules of a restricted network', () => {
  const network = { instance, networkId: 'a1b2c3d4e5f6'.padEnd(64, '0'), bridge: 'br-1', isRestricted: true } as const;
  const reach = { blocked: ['10.0.0.0/8'], allowed: ['192.0.2.7:3128'], nameServers: ['10.0.0.2'] };
  const rules = (table: 'mangle' | 'raw'): string[] =>
    ipv4Rules(network, reach, table).rules.map((rule) => rule.replace('-A BERTH-a1b2c3d4e5f6 ', ''));

  it('must open name servers, block what is blocked for all, and leave the rest to the lists', () => {
    expect(rules('mangle')).toEqual([
      '-m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j RETURN',
      expect.stringContaining('--ctstate NEW -m connlimit'),
      expect.stringContaining('--ctstate NEW -m hashlimit'),
      '-d 10.0.0.2/32 -p udp -m udp --dport 53 -j RETURN',
      '-d 10.0.0.2/32 -p tcp -m tcp --dport 53 -j RETURN',
      `-d 192.0.2.7/32 -p tcp -m tcp --dport 3128 -g ${lists}`,
      '-m addrtype ! --dst-type UNICAST -j DROP',
      '-d 169.254.0.0/16 -j DROP',
      '-d 10.0.0.0/8 -j DROP',
      `-g ${lists}`,
    ]);
  });

  it('must translate its addresses as Docker does those of others, once, and no longer of networks that are gone', () => {
    const ofIt = { ...network, subnet: '172.18.0.0/16' };
    const plan = (current: readonly string[]): string[] =>
      planTranslation(current, { network: ofIt, isInterface: (name) => name === 'br-1' || name === 'br-2' });
    const rule = '-A POSTROUTING -s 172.18.0.0/16 ! -o br-1 -m comment --comment "berth:prod" -j MASQUERADE';
    const dockers = '-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE';
    const sibling = rule.replace('br-1', 'br-2').replace('.18.', '.19.');
    const gone = [rule.replace('br-1', 'br-3'), rule.replace('.18.', '.20.')];
    expect(plan([dockers, sibling])).toEqual([rule]);
    expect(plan([dockers, sibling, rule.replaceAll('"', '')])).toEqual([]);
    expect(plan([rule, ...gone])).toEqual(gone.map((line) => line.replace('-A', '-D')));
    expect(plan([rule, gone[0]?.replace('berth:prod', 'berth:prod2') ?? ''])).toEqual([]);
  });

  it('must be the same in both tables, but for answers to the host and limits of flows', () => {
    expect(rules('raw').slice(1)).toEqual(rules('mangle').slice(3));
    expect(rules('raw')[0]).toBe('-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN');
  });
});
