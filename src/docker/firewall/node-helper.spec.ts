import { helperOptions } from './node-helper';

it('what writes the firewall of another machine must be this and nothing else', () => {
  expect(helperOptions('tables:1', ['berth.later'])).toEqual({
    Image: 'tables:1',
    User: '0:0',
    Entrypoint: ['sleep', 'infinity'],
    Cmd: [],
    Labels: {
      'berth.managed': 'true',
      'berth.helper': 'firewall',
      'berth.snapshot': '',
      'berth.layer': '',
      'berth.instance': '',
      'berth.container_id': '',
      'berth.user_id': '',
      'berth.warm': '',
      'berth.generation': '',
      'berth.network': '',
      'berth.allow': '',
      'berth.user': '',
      'berth.probe': '',
      'berth.later': '',
    },
    Healthcheck: { Test: ['NONE'] },
    StopSignal: 'SIGKILL',
    HostConfig: {
      Runtime: 'runc',
      NetworkMode: 'host',
      ReadonlyRootfs: true,
      Tmpfs: { '/run': 'rw,noexec,nosuid,nodev,size=1m' },
      Memory: 134_217_728,
      MemorySwap: 134_217_728,
      PidsLimit: 64,
      CapDrop: ['ALL'],
      CapAdd: ['NET_ADMIN', 'NET_RAW'],
      SecurityOpt: ['no-new-privileges'],
      Privileged: false,
      IpcMode: 'private',
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'none', Config: {} },
    },
  });
});
