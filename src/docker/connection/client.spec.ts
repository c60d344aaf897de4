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

  it.each([
    ['tcp://10.0.0.1:12376', { host: 'https://10.0.0.1', port: 12376, protocol: 'https' }],
    ['tcp://10.0.0.1:2375', { host: 'https://10.0.0.1', port: 2375, protocol: 'https' }],
    ['tcp://docker.example', { host: 'https://docker.example', port: 2376, protocol: 'https' }],
    ['http://proxy:8080', { host: 'http://proxy', port: 8080, protocol: 'http' }],
  ])('must be spoken to over TLS where there are certificates, on whatever port: %s', (dockerHost, endpoint) => {
    const pem = Buffer.from('');
    const { calls, streams, close } = connectDocker(dockerHost, {
      timeoutMs: 1000,
      tls: { ca: pem, cert: pem, key: pem },
    });
    for (const { modem } of [calls, streams]) expect(modem).toMatchObject(endpoint);
    close();
  });

  it('must be spoken to over TLS where DOCKER_TLS_VERIFY or DOCKER_CERT_PATH is set', () => {
    const protocol = (variables: NodeJS.ProcessEnv): string => {
      const env = jest.replaceProperty(process, 'env', variables);
      const { calls, close } = connectDocker('tcp://10.0.0.1:12376', { timeoutMs: 1000 });
      close();
      env.restore();
      return (calls.modem as unknown as { protocol: string }).protocol;
    };
    expect(protocol({})).toBe('http');
    expect(protocol({ DOCKER_TLS_VERIFY: '', DOCKER_CERT_PATH: '' })).toBe('http');
    expect(protocol({ DOCKER_TLS_VERIFY: '1' })).toBe('https');
    expect(protocol({ DOCKER_CERT_PATH: '/etc/docker' })).toBe('https');
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
