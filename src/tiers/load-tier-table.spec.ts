import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError } from '../config';
import { loadTierTable, parseTierTable } from './load-tiers';
import { DEFAULT_TIERS } from './tier-table';

const tier = {
  containers: 2,
  memory_mb: 1024,
  cpu_shares: 1000,
  disk_mb: 4096,
  session: null,
  session_once: false,
  agents: 0,
};
const file = (changed: object): unknown => ({ ...DEFAULT_TIERS, tiers: { small: { ...tier, ...changed } } });

function faultsOf(json: unknown): string {
  try {
    parseTierTable(json, 'tiers.json');
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
}

describe('the default tiers', () => {
  it.each([
    ['guest', 1, 512, 500, 2048, 180_000, true, 0],
    ['free', 5, 2048, 2000, 10240, 180_000, false, 5],
    ['pro', 10, 4096, 4000, 20480, null, false, 10],
    ['enterprise', 25, 8192, 8000, 51200, null, false, 25],
  ])(
    'must give %s what the contract says',
    (name, containers, memory_mb, cpu_shares, disk_mb, session, once, agents) => {
      expect(loadTierTable(undefined).get(name)).toEqual({
        name,
        containers,
        min: { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 },
        max: { memory_mb, cpu_shares, disk_mb },
        default: {
          memory_mb: Math.min(memory_mb, 1024),
          cpu_shares: Math.min(cpu_shares, 1000),
          disk_mb: Math.min(disk_mb, 10240),
        },
        processes: 1024,
        network: 'internet',
        sessionSeconds: session,
        sessionOnce: once,
        autoStopSeconds: null,
        idleAction: 'stop',
        autoDeleteSeconds: null,
        agents,
        snapshots: name === 'guest' ? 0 : containers,
        snapshotMb: name === 'guest' ? 0 : containers * disk_mb,
        exec: true,
        publicPreviews: name !== 'guest',
        previewConnections: 200,
        previewKibPerSecond: null,
        pool: 'default',
      });
    },
  );
});

describe("an operator's tiers", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-tiers-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  it('must replace the default ones', () => {
    const path = join(folder, 'tiers.json');
    writeFileSync(path, JSON.stringify(file({ session: '30m' })));
    const table = loadTierTable(path);
    expect([...table.keys()]).toEqual(['small']);
    expect(table.get('small')).toMatchObject({ containers: 2, sessionSeconds: 1800, max: { memory_mb: 1024 } });
  });

  it('must give containers 1,024 processes unless they say otherwise', () => {
    expect(parseTierTable(file({}), 'tiers.json').get('small')?.processes).toBe(1024);
    expect(parseTierTable(file({ processes: 4000 }), 'tiers.json').get('small')?.processes).toBe(4000);
  });

  it('must give containers at least the minimum where a request says nothing', () => {
    const minimum = { memory_mb: 2048, cpu_shares: 1500, disk_mb: 20_480 };
    const maximum = { memory_mb: 4096, cpu_shares: 2000, disk_mb: 40_960 };
    const table = parseTierTable({ minimum, tiers: { small: { ...tier, ...maximum } } }, 'tiers.json');
    expect(table.get('small')?.default).toEqual(minimum);
  });

  it('must let people into their containers unless they say otherwise', () => {
    expect(parseTierTable(file({}), 'tiers.json').get('small')?.exec).toBe(true);
    expect(parseTierTable(file({ exec: false }), 'tiers.json').get('small')?.exec).toBe(false);
    expect(faultsOf(file({ exec: 'no' }))).toContain('tiers.small.exec');
  });

  it('must be allowed a list as their widest network', () => {
    const table = parseTierTable(file({ network: { allow: ['10.1.2.3:443'] } }), 'tiers.json');
    expect(table.get('small')?.network).toEqual({ allow: ['10.1.2.3/32:443'] });
  });

  it('must be refused with the name of the file where it cannot be read', () => {
    const missing = join(folder, 'none.json');
    expect(() => loadTierTable(missing)).toThrow(ConfigError);
    expect(() => loadTierTable(missing)).toThrow(missing);
    const broken = join(folder, 'broken.json');
    writeFileSync(broken, '{ "tiers": ');
    expect(() => loadTierTable(broken)).toThrow(/cannot be read as JSON/);
  });

  it.each<[string, unknown, string]>([
    ['a limit under the minimum', file({ memory_mb: 255 }), 'tiers.small.memory_mb'],
    ['a fraction', file({ cpu_shares: 1000.5 }), 'tiers.small.cpu_shares'],
    ['text for a number', file({ disk_mb: '4096' }), 'tiers.small.disk_mb'],
    ['a negative count', file({ containers: -1 }), 'tiers.small.containers'],
    ['a session that is no duration', file({ session: 'long' }), 'tiers.small.session'],
    ['a session of its own without an end', file({ session_once: true }), 'tiers.small.session'],
    ['an unknown field', file({ memory: 1 }), 'memory'],
    ['a name with blanks', { ...DEFAULT_TIERS, tiers: { 'very big': tier } }, 'very big'],
    ['no tier', { ...DEFAULT_TIERS, tiers: {} }, 'tiers'],
    ['a network that is none of them', file({ network: 'lan' }), 'tiers.small.network'],
    ['a list that allows no port', file({ network: { allow: ['10.0.0.0/8'] } }), 'tiers.small.network'],
    ['too few processes for a shell', file({ processes: 31 }), 'tiers.small.processes'],
    ['an idle time under a minute', file({ auto_stop_seconds: 59 }), 'tiers.small.auto_stop_seconds'],
    ['an unknown idle action', file({ idle_action: 'sleep' }), 'tiers.small.idle_action'],
    ['no minimum', { tiers: { small: tier } }, 'minimum'],
    ['no object', [], 'file'],
  ])('must be refused for %s', (_fault, json, named) => {
    expect(faultsOf(json)).toContain(named);
  });

  it('must be refused with every fault at once', () => {
    const faults = faultsOf(file({ containers: -1, agents: -1, session: 'long' }));
    for (const field of ['containers', 'agents', 'session']) expect(faults).toContain(`tiers.small.${field}`);
  });
});
