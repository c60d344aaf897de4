import { readFileSync } from 'node:fs';
import { ConfigError, environmentSchema, parseConfig } from './config';

const SECRETS_KEY = '0'.repeat(64);
const example = readFileSync('.env.example', 'utf8');

/** The settings of `.env.example`; those without a fixed default are commented out there. */
function settingsOf(text: string): Map<string, { value: string; active: boolean }> {
  const settings = [...text.matchAll(/^(# )?([A-Z][A-Z0-9_]*)=(.*)$/gm)];
  return new Map(
    settings.map(([, comment, name = '', value = '']) => [name, { value, active: comment === undefined }]),
  );
}

function faultsOf(environment: Record<string, string>): string {
  try {
    parseConfig(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
}

/** Name and default of each item of the lists of settings; what is written there without quotes is an explanation. */
function documentedSettings(): Map<string, string | undefined> {
  const items = readFileSync('docs/configuration.md', 'utf8').matchAll(/^- `([A-Z][A-Z0-9_]*)`(?: \((.*?)\))?:/gm);
  return new Map([...items].map(([, name = '', text = '']) => [name, /^`([^`]*)`$/.exec(text)?.[1]]));
}

describe('docs/configuration.md', () => {
  it('must list every setting, and no other', () => {
    expect([...documentedSettings().keys()].sort()).toEqual(Object.keys(environmentSchema.shape).sort());
  });

  it('must show the defaults', () => {
    const shown = [...documentedSettings()].filter(([, value]) => value !== undefined);
    expect(parseConfig(Object.fromEntries(shown) as Record<string, string>)).toEqual(parseConfig({}));
  });
});

it('HOST=localhost is one address', () => {
  expect(parseConfig({ HOST: 'localhost' }).HOST).toBe('127.0.0.1');
});

describe('.env.example', () => {
  const settings = settingsOf(example);

  it('must list every setting, and no other, in the order of the schema', () => {
    expect([...settings.keys()]).toEqual(Object.keys(environmentSchema.shape));
  });

  it('must show the defaults', () => {
    const active = [...settings].filter(([, { active }]) => active).map(([name, { value }]) => [name, value]);
    expect(parseConfig(Object.fromEntries(active) as Record<string, string>)).toEqual(parseConfig({}));
  });

  it('must show valid values where a setting has no default', () => {
    const inactive = [...settings].filter(([, { active }]) => !active).map(([name, { value }]) => [name, value]);
    expect(faultsOf(Object.fromEntries(inactive) as Record<string, string>)).toBe('');
  });

  it('must explain every setting', () => {
    const blocks = example.split('\n\n').filter((block) => /^(# )?[A-Z][A-Z0-9_]*=/m.test(block));
    expect(blocks.filter((block) => !/^# [A-Za-z].*[ .]/.test(block))).toEqual([]);
  });
});

describe('the configuration', () => {
  it('must name every fault at once', () => {
    const faults = faultsOf({ PORT: '80800', DATABASE_URL: 'mysql://x', EVENT_RETENTION: 'a week', LOG_LEVEL: 'loud' });
    for (const name of ['PORT', 'DATABASE_URL', 'EVENT_RETENTION', 'LOG_LEVEL'])
      expect(faults).toContain(`  ${name}: `);
    expect(faults.split('\n')).toHaveLength(6);
  });

  it('must leave agents time for their next sign of life', () => {
    const faults = faultsOf({ AGENT_HEARTBEAT_SECONDS: '15', AGENT_OFFLINE_SECONDS: '15' });
    expect(faults).toContain('  AGENT_OFFLINE_SECONDS: expected more than AGENT_HEARTBEAT_SECONDS');
  });

  it('must simulate containers neither in production nor on PostgreSQL, which several processes share', () => {
    expect(parseConfig({ ENGINE: 'simulated' }).ENGINE).toBe('simulated');
    const SECRETS_KEY = 'ab'.repeat(32);
    expect(faultsOf({ ENGINE: 'simulated', NODE_ENV: 'production', SECRETS_KEY })).toContain(
      '  ENGINE: simulated has no',
    );
    const faults = faultsOf({ ENGINE: 'simulated', DATABASE_URL: 'postgres://u:p@h/d' });
    expect(faults).toContain('  ENGINE: simulated containers are in the memory of one process');
  });

  it('must not simulate containers on the nodes of a Swarm', () => {
    const cluster = {
      CLUSTER: 'swarm',
      CLUSTER_MANAGERS: 'tcp://10.0.0.1:2376',
      CLUSTER_CERT_PATH: '/etc/berth/nodes',
    };
    expect(parseConfig(cluster).CLUSTER).toBe('swarm');
    expect(faultsOf({ ...cluster, ENGINE: 'simulated' })).toContain(
      '  CLUSTER: the nodes of a Swarm run no simulated containers: leave out CLUSTER, or --simulate',
    );
  });

  it('must take an empty variable for one that is not set', () => {
    expect(parseConfig({ PORT: '', REDIS_URL: '' }).PORT).toBe(8080);
  });

  it.each(['everyone', '0.0.0.0/0', '10.0.0.0/8,proxy'])('must take no "%s" for networks', (networks) => {
    for (const name of ['TRUSTED_PROXIES', 'SANDBOX_BLOCKED_NETWORKS'])
      expect(faultsOf({ [name]: networks })).toContain(`  ${name}: expected addresses`);
  });

  it.each(['docker.io', 'registry:5000,registry.example:*', '127.0.0.1:5000', '[::1]:5000'])(
    'must take registries written as "%s"',
    (CUSTOM_IMAGE_REGISTRIES) => {
      expect(parseConfig({ CUSTOM_IMAGE_REGISTRIES }).CUSTOM_IMAGE_REGISTRIES).toEqual(
        CUSTOM_IMAGE_REGISTRIES.split(','),
      );
    },
  );

  it.each(['*', 'https://docker.io', 'docker.io/library', 'Docker.io', '*.docker.io', 'a b', 'docker.io:', '-a'])(
    'must not take registries written as "%s"',
    (registries) => {
      expect(faultsOf({ CUSTOM_IMAGE_REGISTRIES: registries })).toContain('  CUSTOM_IMAGE_REGISTRIES: expected hosts');
    },
  );

  it('must read durations as milliseconds', () => {
    expect(parseConfig({ VOLUME_RETENTION: '0', EVENT_RETENTION: '50h' })).toMatchObject({
      VOLUME_RETENTION: 0,
      EVENT_RETENTION: 180_000_000,
    });
    expect(parseConfig({ VOLUME_RETENTION: 'forever' }).VOLUME_RETENTION).toBeNull();
  });

  it('must run sandboxes under whatever works in development, and under gVisor alone in production', () => {
    expect(parseConfig({}).SANDBOX_RUNTIME).toBe('auto');
    expect(parseConfig({ NODE_ENV: 'production', SECRETS_KEY }).SANDBOX_RUNTIME).toBe('runsc');
  });
});

describe('production', () => {
  it.each([
    ['SANDBOX_RUNTIME', 'auto'],
    ['CORS_ORIGINS', 'https://a.example,*'],
  ])('must refuse %s=%s, by name', (name, value) => {
    expect(faultsOf({ [name]: value })).toBe('');
    expect(faultsOf({ NODE_ENV: 'production', [name]: value })).toContain(`  ${name}: `);
  });

  it('must refuse to start without a key for secrets, and take one in either form that programs print', () => {
    expect(faultsOf({})).toBe('');
    expect(faultsOf({ NODE_ENV: 'production' })).toMatch(/ {2}SECRETS_KEY: is needed/);
    const bytes = Buffer.alloc(32, 0xfb);
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(parseConfig({ SECRETS_KEY: bytes.toString(encoding) }).SECRETS_KEY).toEqual(bytes);
    }
    for (const wrong of ['secret', bytes.subarray(1).toString('base64'), `${bytes.toString('hex')}00`]) {
      expect(faultsOf({ SECRETS_KEY: wrong })).toContain('  SECRETS_KEY: expected 32 random bytes');
      expect(faultsOf({ SECRETS_KEY: wrong })).not.toContain(wrong);
    }
  });

  it('must allow runc where it is chosen by name', () => {
    const environment = { NODE_ENV: 'production', SECRETS_KEY, SANDBOX_RUNTIME: 'runc' };
    expect(parseConfig(environment).SANDBOX_RUNTIME).toBe('runc');
  });
});
