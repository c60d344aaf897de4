import { isAllowedRegistry } from './image-catalog';

describe('the registry of a custom image', () => {
  it.each(['docker.io', 'ghcr.io', 'registry.example', 'registry.example:5000', 'a.b-c.example', '1.2.3.example'])(
    'must be allowed without a list where its name is public: %s',
    (registry) => expect(isAllowedRegistry(registry, [])).toBe(true),
  );

  it.each([
    'localhost',
    'localhost:5000',
    'registry.localhost',
    'registry:5000',
    '127.0.0.1',
    '127.0.0.1:5000',
    '127.1:80',
    '2130706433:80',
    '0x7f.0x1:80',
    '0x7f000001',
    '10.0.0.5:5000',
    '169.254.169.254',
    '192.0.2.1',
    '[::1]:5000',
    '[fd00::1]',
    '[2001:db8::1]:443',
  ])('must not be this machine or an address without a list: %s', (registry) => {
    expect(isAllowedRegistry(registry, [])).toBe(false);
  });

  it.each<[string, string[], boolean]>([
    ['docker.io', ['docker.io', 'ghcr.io'], true],
    ['quay.io', ['docker.io', 'ghcr.io'], false],
    ['10.0.0.5:5000', ['10.0.0.5:5000'], true],
    ['10.0.0.5:5001', ['10.0.0.5:5000'], false],
    ['10.0.0.5', ['10.0.0.5:5000'], false],
    ['10.0.0.5:5000', ['10.0.0.5'], false],
    ['10.0.0.5:5001', ['10.0.0.5:*'], true],
    ['10.0.0.5', ['10.0.0.5:*'], true],
    ['[fd00::1]:5000', ['[fd00::1]:*'], true],
    ['evil.docker.io', ['docker.io'], false],
    ['docker.io.evil.example', ['docker.io'], false],
  ])('%s with the list %j: %s', (registry, allowed, isAllowed) => {
    expect(isAllowedRegistry(registry, allowed)).toBe(isAllowed);
  });
});
