import type { IncomingMessage } from 'node:http';
import { originOf, portOf, targetOf } from './preview-address';

const ID = '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11';

const asked = (...hosts: string[]): ReturnType<typeof targetOf> => {
  const request = { headers: { host: hosts[0] }, rawHeaders: hosts.flatMap((host) => ['Host', host]) };
  return targetOf(request as unknown as IncomingMessage, 'preview.example');
};

describe('the name of a preview', () => {
  it.each([
    `3000-${ID}.preview.example`,
    `3000-${ID.toUpperCase()}.Preview.Example:8081`,
    `3000-${ID}.preview.example.`,
  ])('may be %s', (host) => {
    expect(asked(host)).toEqual({ containerId: ID, port: 3000 });
  });

  it.each([
    '',
    'preview.example',
    `${ID}.preview.example`,
    `0-${ID}.preview.example`,
    `03000-${ID}.preview.example`,
    `65536-${ID}.preview.example`,
    `3000-${ID}.example`,
    `3000-${ID}.preview.example.evil.example`,
    `x.3000-${ID}.preview.example`,
    `3000-${ID}xpreview.example`,
    `3000-${ID.slice(0, 8)}.preview.example`,
    `3000-${ID}.preview.example@evil.example`,
  ])('must not be "%s"', (host) => {
    expect(asked(host)).toBeNull();
  });

  it('must be given once', () => {
    expect(asked(`3000-${ID}.preview.example`, `3001-${ID}.preview.example`)).toBeNull();
    expect(asked()).toBeNull();
  });
});

describe('the URL of a preview', () => {
  const target = { containerId: ID, port: 3000 };

  it('must lead to the listener below localhost, and to a proxy elsewhere', () => {
    const url = (domain: string): string => originOf(target, { PREVIEW_DOMAIN: domain, PREVIEW_PORT: 8081 });
    expect(url('preview.localhost')).toBe(`http://3000-${ID}.preview.localhost:8081`);
    expect(url('preview.example')).toBe(`https://3000-${ID}.preview.example`);
  });
});

describe('a port in a path', () => {
  it.each<[string, number | null]>([
    ['1', 1],
    ['65535', 65_535],
    ['65536', null],
    ['0', null],
    ['080', null],
    ['-1', null],
    ['1e3', null],
    ['', null],
  ])('"%s" must be %p', (text, port) => {
    expect(portOf(text)).toBe(port);
  });
});
