import type { ImageView, LimitsView, RoleView, SnapshotView } from '@berth/client';
import {
  type CreateContext,
  CUSTOM_SIZE,
  faultsOfForm,
  firstSource,
  newForm,
  presetsOf,
  requestOf,
  resourcesOf,
  suggestName,
  TEMPLATE_SIZE,
  withSize,
  withSource,
} from '../src/data/create-form.ts';
import { readCreateLink, writeCreateLink } from '../src/data/create-link.ts';
import { newPair } from '../src/data/pairs.ts';

const LIMITS: LimitsView = {
  containers: 5,
  min: { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 },
  max: { memory_mb: 2048, cpu_shares: 2000, disk_mb: 10_240 },
  default: { memory_mb: 1024, cpu_shares: 1000, disk_mb: 10_240 },
  processes: 1024,
  network: 'internet',
  session_seconds: null,
  session_once: false,
  auto_stop_seconds: 7200,
  idle_action: 'stop',
  auto_delete_seconds: null,
  agents: 0,
  snapshots: 5,
  snapshot_mb: 1024,
  webhooks: 0,
  exec: true,
  public_previews: true,
  preview_connections: 200,
  preview_kib_per_second: null,
};

const image = (name: string, template: ImageView['template'] = null): ImageView => ({
  name,
  reference: `${name}:1`,
  description: '',
  default: name === 'sandbox',
  pull: 'missing',
  available: true,
  template,
});
const TEMPLATE = { version: '1', memory_mb: 4096, cpu_shares: 500, disk_mb: null, role: 'node', data: false };
const role = (name: string, isDefault = false): RoleView => ({
  name,
  description: '',
  packages: { apt: [], apk: [], dnf: [] },
  default: isDefault,
});
const SNAPSHOT = { id: 'S1', name: 'base', status: 'ready', disk_mb: 3072, role: null } as SnapshotView;

const context: CreateContext = {
  limits: LIMITS,
  catalogue: {
    images: [image('ubuntu'), image('sandbox'), image('tools', TEMPLATE)],
    hasCustom: true,
    roles: [role('barebone', true), role('node')],
    snapshots: [SNAPSHOT],
  },
};

const none: ReadonlySet<string> = new Set();
const fresh = newForm(firstSource(context.catalogue), context);
const link = (query: string) => readCreateLink(new URLSearchParams(query), context);
const checked = (query: string) => {
  const { form, faults } = link(query);
  return { ...faultsOfForm(form, { ...context, taken: none }), ...faults };
};

describe('the presets of sizes', () => {
  const named = (limits: LimitsView): string[] =>
    presetsOf(limits).map(({ name, resources, isDefault }) => {
      const { memory_mb, cpu_shares, disk_mb } = resources;
      return `${name} ${String(memory_mb)}/${String(cpu_shares)}/${String(disk_mb)}${isDefault ? ' default' : ''}`;
    });

  it('must be those that the tier allows, with its default among them', () =>
    expect(named(LIMITS)).toEqual([
      'Nano 256/250/2560',
      'Micro 512/500/5120',
      'Small 1024/1000/10240 default',
      'Medium 2048/2000/10240',
    ]));

  it('must have the default and the largest size of a tier with other amounts', () =>
    expect(
      named({
        ...LIMITS,
        max: { memory_mb: 3000, cpu_shares: 1500, disk_mb: 4096 },
        default: { memory_mb: 900, cpu_shares: 1000, disk_mb: 4096 },
      }),
    ).toEqual([
      'Nano 256/250/2560',
      'Micro 512/500/4096',
      'Standard 900/1000/4096 default',
      'Small 1024/1000/4096',
      'Largest 3000/1500/4096',
    ]));
});

describe('the form of a creation', () => {
  it('must begin with the default image and size, and ask for no more than was chosen', () => {
    expect(fresh).toMatchObject({ source: { kind: 'image', of: 'sandbox' }, size: 'small' });
    expect(requestOf(fresh, LIMITS)).toEqual({ image: 'sandbox', memory_mb: 1024, cpu_shares: 1000, disk_mb: 10_240 });
  });

  it('must leave to a template what it says, override it, and be as usual again with an image', () => {
    const tools = withSource(fresh, { kind: 'template', of: 'tools' }, context);
    expect(requestOf(tools, LIMITS)).toEqual({ image: 'tools' });
    expect(resourcesOf(tools, context)).toEqual({ memory_mb: 2048, cpu_shares: 500, disk_mb: 10_240 });
    const own = withSize(tools, CUSTOM_SIZE, context);
    expect(own.draft).toMatchObject({ memory: '2', cpus: '0.5', disk: '' });
    expect(requestOf(own, LIMITS)).toEqual({ image: 'tools', memory_mb: 2048, cpu_shares: 500 });
    expect(requestOf(withSize(own, TEMPLATE_SIZE, context), LIMITS)).toEqual({ image: 'tools' });
    const open = { ...tools, draft: { ...tools.draft, network: 'internet' as const } };
    expect(requestOf(open, LIMITS)).toEqual({ image: 'tools', network: 'internet' });
    expect(withSource(tools, fresh.source, context)).toMatchObject({ size: 'small', draft: { memory: '1' } });
  });

  it('must begin with the disk size of a snapshot', () => {
    const form = withSource(fresh, { kind: 'snapshot', of: 'S1' }, context);
    expect(form.size).toBe(CUSTOM_SIZE);
    expect(requestOf(form, LIMITS)).toEqual({ snapshot: 'S1', memory_mb: 1024, cpu_shares: 1000, disk_mb: 3072 });
  });

  it('must say all that is wrong at once, each at its field', () => {
    const pair = newPair('1X', '');
    const form = {
      ...fresh,
      name: 'not valid',
      role: 'gone',
      source: { kind: 'custom' as const, of: '' },
      env: [pair],
      draft: {
        ...fresh.draft,
        memory: '0.1',
        cpus: '64',
        disk: '',
        network: 'allow' as const,
        allow: 'example.org',
        auto_stop: '3 h',
        auto_delete: '5 s',
        command: 'echo "open',
        ready_port: '0',
      },
    };
    expect(faultsOfForm(form, { ...context, taken: none })).toEqual({
      name: expect.stringContaining('letters'),
      role: 'There is no role “gone”.',
      custom_image: expect.stringContaining('Enter an image reference'),
      memory_mb: expect.stringContaining('between 102 and 103 MB'),
      cpu_shares: 'Your tier allows 0.25 CPU to 2 CPU.',
      disk_mb: expect.stringContaining('Enter an amount'),
      network: expect.stringContaining('“example.org” is not'),
      auto_stop_seconds: 'Must be at most 2 h.',
      auto_delete_seconds: 'Must be at least 1 min.',
      start: 'A quotation mark is not closed.',
      ready_port: 'Enter a port: 1 to 65535.',
      [`env.${String(pair.id)}`]: expect.stringContaining('Use letters'),
    });
    expect(faultsOfForm({ ...fresh, name: 'mine' }, { ...context, taken: new Set(['mine']) })).toEqual({
      name: 'You already have a container with this name.',
    });
  });

  it('must suggest names that are free', () => {
    const numbers = [0, 0, 0, 0.5, 0, 0];
    const random = (): number => numbers.shift() ?? 0;
    expect(suggestName(new Set(['amber-anchor-10']), random)).toBe('amber-anchor-55');
  });
});

describe('a link to the form', () => {
  it('must fill in what it says', () => {
    const { form, faults, notes } = link(
      'image=ubuntu&name=web&memory=2GB&cpus=2&disk=10GB&label=team:core&label=a:b:c&label=flag&env=A=1=2&env=B=' +
        '&network=none&role=node&idle_after=90m&idle_action=stop&delete_after=7d&auto_start=true' +
        '&start=sleep+5&restart=never&ready_port=80',
    );
    expect([faults, notes, form.size]).toEqual([{}, [], 'medium']);
    expect(requestOf(form, LIMITS)).toEqual({
      image: 'ubuntu',
      name: 'web',
      memory_mb: 2048,
      cpu_shares: 2000,
      disk_mb: 10_240,
      labels: { team: 'core', a: 'b:c', flag: '' },
      env: { A: '1=2', B: '' },
      network: 'none',
      role: 'node',
      auto_stop_seconds: 5400,
      idle_action: 'stop',
      auto_delete_seconds: 604_800,
      auto_start: true,
      start: { command: ['sleep', '5'], restart: 'never', ready: { port: 80 } },
    });
  });

  it.each([
    ['image=gone', { source: 'There is no image “gone”.' }],
    ['image=tools', {}],
    ['template=ubuntu', { source: 'There is no template “ubuntu”.' }],
    ['snapshot=S2', { source: 'This snapshot does not exist or is not ready.' }],
    ['image=ubuntu&snapshot=S1', { source: 'The link has image and snapshot. Choose one of them.' }],
    ['custom_image=', { custom_image: expect.stringContaining('Enter') }],
    [
      'memory=lots&cpus=9&disk=0.1MB',
      {
        memory_mb: expect.stringContaining('Enter an amount'),
        cpu_shares: expect.stringContaining('Your tier allows'),
        disk_mb: expect.stringContaining('between 0 and 1 MB'),
      },
    ],
    ['network=lan', { network: expect.stringContaining('“lan” is not valid') }],
    ['auto_start=yes', { auto_start: expect.stringContaining('true, false') }],
    ['idle_after=30', { auto_stop_seconds: expect.stringContaining('Add a unit') }],
    ['role=gone', { role: expect.stringContaining('gone') }],
    ['name=a+b', { name: expect.stringContaining('letters') }],
  ])('must show what is wrong in it at the field: %s', (query, faults) => expect(checked(query)).toEqual(faults));

  it('must say what it has that no field shows', () => {
    expect(link('colour=red&name=a&name=b').notes).toEqual([
      'The link has an unknown parameter “colour”.',
      'The link has “name” more than once. The first one was used.',
    ]);
  });

  it('must be made of a form without the values of variables, which it asks for again', () => {
    const query =
      'snapshot=S1&name=web&memory=700MB&cpus=0.5&disk=3GB&allow=10.0.0.0/8:443&label=team:core&env=TOKEN=x';
    const { form } = link(query);
    const written = writeCreateLink(form, { limits: LIMITS, hasName: true });
    expect(written).toBe(
      '/new?snapshot=S1&name=web&memory=700MB&cpus=0.5&disk=3GB&allow=10.0.0.0/8:443&label=team:core&env=TOKEN',
    );
    expect(Object.values(checked(written.slice('/new?'.length)))).toEqual([
      'The link does not contain this value. Enter it.',
    ]);
    expect(writeCreateLink(link('template=tools').form, { limits: LIMITS, hasName: false })).toBe(
      '/new?template=tools',
    );
  });

  it('must have decimals with a point, whatever the fields have, and what cannot be read as it is', () => {
    const { form } = link('image=ubuntu&name=web');
    const written = (draft: Partial<typeof form.draft>): string =>
      writeCreateLink({ ...form, draft: { ...form.draft, ...draft } }, { limits: LIMITS, hasName: true });
    expect(written({ memory: '1,5', cpus: '0,5', disk: '2,5 GB', auto_stop: '1,5 h' })).toBe(
      '/new?image=ubuntu&name=web&memory=1.5GB&cpus=0.5&disk=2.5GB&idle_after=1.5h',
    );
    expect(written({ memory: '1,500', cpus: '1,500', disk: 'much', auto_stop: '1,500 s' })).toBe(
      '/new?image=ubuntu&name=web&memory=1%2C500&cpus=1%2C500&disk=much&idle_after=1%2C500s',
    );
  });

  it('must bring back the request of the form that it was made of', () => {
    const query =
      'image=ubuntu&name=web&memory=1.5GB&cpus=0.333&disk=5GB&network=none&idle_after=1h30min&auto_start=true' +
      '&start=sh+-c+%27echo+%22a+b%22%27&ready_port=80&label=path:a/b%26c%3Dd';
    const { form } = link(query);
    const again = link(writeCreateLink(form, { limits: LIMITS, hasName: true }).slice('/new?'.length));
    expect(requestOf(again.form, LIMITS)).toEqual(requestOf(form, LIMITS));
    expect(again.faults).toEqual({});
  });
});
