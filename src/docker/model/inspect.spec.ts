import { parseListedContainer, observedContainer } from './inspect';
import { isNetworkOf } from './network-names';

const inspection = (state: Record<string, unknown>, address = '') => ({
  Id: 'a'.repeat(64),
  Name: '/berth-1',
  State: { Status: 'running', StartedAt: '2025-11-25T00:01:55.783044574Z', ExitCode: 0, OOMKilled: false, ...state },
  Image: 'sha256:1',
  HostConfig: { Runtime: 'runsc' },
  NetworkSettings: { Networks: { 'berth-prod': { IPAddress: address }, other: { IPAddress: '10.9.9.9' } } },
  Config: { Labels: {} },
});

function thrownBy(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

const ofProd = isNetworkOf('prod');

describe('an inspection', () => {
  it.each([
    ['created', '0001-01-01T00:00:00Z', 0, null],
    ['running', '2025-11-25T00:01:55.783044574Z', 0, null],
    ['paused', '2025-11-25T00:01:55.783044574Z', 0, null],
    ['restarting', '2025-11-25T00:01:55.783044574Z', 127, 127],
    ['exited', '2025-11-25T00:01:55.783044574Z', 143, 143],
    ['dead', '2025-11-25T00:01:55.783044574Z', 137, 137],
    ['removing', '2025-11-25T00:01:55.783044574Z', 137, 137],
  ])('must give a %s container started at %s its exit code', (Status, StartedAt, ExitCode, exitCode) => {
    const observed = observedContainer(inspection({ Status, StartedAt, ExitCode }), ofProd);
    const state = ['dead', 'removing'].includes(Status) ? 'broken' : Status;
    expect(observed).toMatchObject({ state, exitCode });
  });

  it('must keep the start time as Docker writes it, and say null of one that never ran', () => {
    expect(observedContainer(inspection({}), ofProd).startedAt).toBe('2025-11-25T00:01:55.783044574Z');
    expect(observedContainer(inspection({ StartedAt: '0001-01-01T00:00:00Z' }), ofProd).startedAt).toBeNull();
  });

  it('must give the address in Berth’s own network, null if there is none', () => {
    expect(observedContainer(inspection({}, '172.18.0.2'), ofProd).ipAddress).toBe('172.18.0.2');
    expect(observedContainer(inspection({}), ofProd).ipAddress).toBeNull();
    expect(observedContainer(inspection({}, '172.18.0.2'), isNetworkOf('gone')).ipAddress).toBeNull();
  });

  it('must say the rest in Berth’s words', () => {
    expect(observedContainer(inspection({ OOMKilled: true }), ofProd)).toMatchObject({
      engineId: 'a'.repeat(64),
      name: 'berth-1',
      oomKilled: true,
      imageId: 'sha256:1',
      runtime: 'runsc',
    });
  });

  it.each([[Buffer.from('<html>')], [null], [{}], [inspection({ Status: 'confused' })], ['running']])(
    'must be refused as no answer when it cannot be read (%#)',
    (answer) => {
      expect(thrownBy(() => observedContainer(answer, ofProd))).toMatchObject({
        name: 'EngineError',
        code: 'docker_unavailable',
      });
    },
  );
});

describe('an entry of a list', () => {
  const entry = (changes: Record<string, unknown>) => ({
    Id: 'b'.repeat(64),
    Names: ['/berth-1'],
    State: 'exited',
    Created: 1_764_000_000,
    Labels: { 'berth.container_id': 'c1', 'berth.generation': '4' },
    ...changes,
  });

  it('must read whose a container is and which generation', () => {
    expect(parseListedContainer(entry({}), ofProd)).toEqual({
      engineId: 'b'.repeat(64),
      name: 'berth-1',
      state: 'exited',
      createdAt: new Date('2025-11-24T16:00:00.000Z'),
      containerId: 'c1',
      generation: 4,
      connected: true,
      network: null,
    });
  });

  it.each([[null], [{}], [{ 'berth.generation': 'many' }], [{ 'berth.generation': '-1' }]])(
    'must say null of labels that are not readable (%#)',
    (Labels) => {
      expect(parseListedContainer(entry({ Labels }), ofProd)).toMatchObject({ containerId: null, generation: null });
    },
  );

  it.each([
    [{ 'berth-prod': {} }, true],
    [{ bridge: {}, 'berth-prod-12': {} }, true],
    [{ 'berth-prod-1': {}, 'berth-prod-01': {}, 'berth-prod-a': {}, 'berth-production': {} }, false],
    [{ 'berth.allow-prod-2': {} }, true],
    [{ 'berth.allow-production': {} }, false],
    [{ other: {} }, false],
    [{}, false],
    [null, true],
  ])('must read whether a container in the networks %j is in its own', (Networks, connected) => {
    expect(parseListedContainer(entry({ NetworkSettings: { Networks } }), ofProd)).toMatchObject({ connected });
  });

  it('must survive a container that is half removed and has no name', () => {
    const halfGone = parseListedContainer(entry({ Names: null, State: 'removing' }), ofProd);
    expect(halfGone).toMatchObject({ name: '', state: 'broken' });
  });

  it.each([[null], ['b'], [{ message: 'no' }], [{}]])('must be refused when it is none (%#)', (answer) => {
    expect(thrownBy(() => parseListedContainer(answer, ofProd))).toMatchObject({ code: 'docker_unavailable' });
  });
});
