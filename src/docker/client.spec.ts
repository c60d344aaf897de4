import { inspect } from 'node:util';
import { connectDocker, parseDockerHost } from './client';

describe('DOCKER_HOST', () => {
  it.each([
    [
      'unix:///var/run/docker.sock',
      { socketPath: '/var/run/docker.sock', host: undefined, port: undefined, protocol: 'http' },
    ],
    ['tcp://10.0.0.1:2375', { host: 'http://10.0.0.1', port: 2375, protocol: 'http' }],
    ['tcp://docker.example:2376', { host: 'https://docker.example', port: 2376, protocol: 'https' }],
    ['tcp://docker.example', { host: 'http://docker.example', port: 2375, protocol: 'http' }],
    ['http://proxy:8080', { host: 'http://proxy', port: 8080, protocol: 'http' }],
    ['https://docker.example:8443', { host: 'https://docker.example', port: 8443, protocol: 'https' }],
    ['https://docker.example', { host: 'https://docker.example', port: 2376, protocol: 'https' }],
    ['tcp://[::1]:2375', { host: 'http://[::1]', port: 2375, protocol: 'http' }],
  ])('must be read: %s', (dockerHost, endpoint) => {
    expect(parseDockerHost(dockerHost)).toMatchObject(endpoint);
  });

  it('must win over the variable that docker-modem reads by itself', () => {
    const before = process.env['DOCKER_HOST'];
    process.env['DOCKER_HOST'] = 'tcp://elsewhere:2375';
    try {
      const { calls, close } = connectDocker('unix:///run/berth.sock', { timeoutMs: 1000 });
      expect(calls.modem).toMatchObject({ socketPath: '/run/berth.sock', host: undefined, port: undefined });
      close();
    } finally {
      if (before === undefined) delete process.env['DOCKER_HOST'];
      else process.env['DOCKER_HOST'] = before;
    }
  });
});

it('must not let docker-modem inspect what a request is made of', async () => {
  const { calls, streams, close } = connectDocker('unix:///run/there-is-none.sock', { timeoutMs: 1000 });
  for (const docker of [calls, streams]) {
    const inspected = jest.fn(() => 'Agent');
    Object.assign((docker.modem as unknown as { agent: object }).agent, { [inspect.custom]: inspected });
    await expect(docker.ping()).rejects.toThrow();
    expect(inspected).not.toHaveBeenCalled();
  }
  close();
});
