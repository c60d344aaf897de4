import { volumeWorkerOptions } from './volume-worker';

const owner = { instance: 'prod', containerId: 'c1', userId: 'u1' };
const labels = {
  'berth.managed': 'true',
  'berth.instance': 'prod',
  'berth.container_id': 'c1',
  'berth.user_id': 'u1',
};

/** What an image may not say of it: that it is a sandbox, a probe or a helper, or has an allow list. */
const withoutValue = {
  'berth.generation': '',
  'berth.network': '',
  'berth.allow': '',
  'berth.user': '',
  'berth.probe': '',
  'berth.process': '',
  'berth.warm': '',
  'berth.helper': '',
  'berth.snapshot': '',
  'berth.supervisor': '',
  'berth.layer': '',
  'berth.later': '',
};

it('what works on volumes must be this and nothing else', () => {
  const mounts = [
    { volume: 'old', path: '/from', access: 'read' },
    { volume: 'new', path: '/to', access: 'write' },
  ] as const;
  const mount = (Source: string, Target: string, ReadOnly: boolean): object => ({
    Type: 'volume',
    Source,
    Target,
    ReadOnly,
    VolumeOptions: { NoCopy: true, Labels: labels, DriverConfig: { Name: 'local', Options: {} } },
  });
  const worker = { image: 'tools:1', script: 'true', mounts, owner };
  expect(volumeWorkerOptions(worker, ['berth.later'])).toEqual({
    Image: 'tools:1',
    User: '0:0',
    WorkingDir: '/',
    Entrypoint: ['/bin/sh', '-c', 'true'],
    Cmd: [],
    Labels: { ...withoutValue, ...labels },
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      Runtime: 'runc',
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      Tmpfs: { '/tmp': 'rw,noexec,nosuid,nodev,size=1m' },
      Memory: 536_870_912,
      MemorySwap: 536_870_912,
      CpuPeriod: 100_000,
      CpuQuota: 100_000,
      CpuShares: 256,
      PidsLimit: 64,
      CapDrop: ['ALL'],
      CapAdd: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'SETFCAP', 'MKNOD'],
      SecurityOpt: ['no-new-privileges'],
      Privileged: false,
      IpcMode: 'private',
      Mounts: [mount('old', '/from', true), mount('new', '/to', false)],
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'none', Config: {} },
    },
  });
});
