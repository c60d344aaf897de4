import { isBuiltHere, parseImageReference, registryOf } from './image-reference';

const digest = `sha256:${'0a'.repeat(32)}`;

describe('an image reference', () => {
  it.each([
    ['ubuntu', 'ubuntu', null, null],
    ['ubuntu:24.04', 'ubuntu', '24.04', null],
    ['library/ubuntu:latest', 'library/ubuntu', 'latest', null],
    ['registry.example/owner/image:1.2', 'registry.example/owner/image', '1.2', null],
    ['localhost:5000/a/b__c-d.e:T_1', 'localhost:5000/a/b__c-d.e', 'T_1', null],
    ['[2001:db8::1]:5000/a', '[2001:db8::1]:5000/a', null, null],
    [`alpine@${digest}`, 'alpine', null, digest],
    [`alpine:3.22@${digest}`, 'alpine', '3.22', digest],
    // Of letters that an id may have, but none with its tag or path.
    ['cafe:latest', 'cafe', 'latest', null],
    ['library/cafe', 'library/cafe', null, null],
    ['sha256', 'sha256', null, null],
  ])('must be taken: %s', (text, repository, tag, expectedDigest) => {
    expect(parseImageReference(text)).toEqual({ repository, tag, digest: expectedDigest });
  });

  it.each([
    '',
    ' ubuntu',
    'ubuntu ',
    'ubuntu\n',
    'Ubuntu',
    'ubuntu:',
    'ubuntu:24.04:1',
    ':24.04',
    'a//b',
    '/ubuntu',
    'ubuntu/',
    '../etc/passwd',
    'a/../b',
    '-ubuntu',
    'ubuntu@sha256:abc',
    'ubuntu@md5:d41d8cd98f00b204e9800998ecf8427e',
    'http://registry/ubuntu',
    'registry:99999999/ubuntu',
    'ubuntu?fromSrc=-',
    'ubuntu&tag=x',
    'ubuntu%2fa',
    'übuntu',
    'ubuntu:\u0000',
    'f'.repeat(64),
    // Docker takes the beginning of an id for the whole.
    'f',
    '0a1b2c3d4e5f',
    'cafe',
    'sha256:abc',
    digest,
    `sha512:${'0'.repeat(128)}`,
    `a${'b'.repeat(255)}`,
    `ubuntu:${'t'.repeat(129)}`,
  ])('must be refused: %j', (text) => {
    expect(parseImageReference(text)).toBeNull();
  });

  it('must be decided quickly, whatever is written', () => {
    // What backtracks would never end; the processor's time, since a busy machine's clock says nothing.
    const before = process.cpuUsage();
    for (const part of ['a-', 'a.', 'a_', 'a/', '-', 'A.', '0:']) parseImageReference(`${part.repeat(127)}!`);
    expect(process.cpuUsage(before).user).toBeLessThan(2_000_000);
  });
});

describe('an image that is built here', () => {
  it.each([
    ['berth/sandbox:latest', true],
    ['berth/sandbox', true],
    [`berth/sandbox@sha256:${'0'.repeat(64)}`, true],
    ['docker.io/berth/minimal', true],
    ['index.docker.io/berth/minimal:1', true],
    ['Docker.io/berth/minimal:1', true],
    ['docker.io/library/berth/minimal', true],
    ['registry.example/berth/sandbox', false],
    ['localhost:5000/berth/sandbox', false],
    ['berthed/sandbox', false],
    ['library/berth', false],
    ['berth', false],
    ['ubuntu:24.04', false],
    ['Berth!', false],
  ])('must be known by its name: %s %s', (reference, isBuilt) => {
    expect(isBuiltHere(reference)).toBe(isBuilt);
  });
});

describe('the registry of an image', () => {
  it.each([
    ['ubuntu', 'docker.io'],
    ['library/ubuntu', 'docker.io'],
    ['docker.io/library/ubuntu', 'docker.io'],
    ['index.docker.io/library/ubuntu', 'docker.io'],
    ['registry.example/owner/image', 'registry.example'],
    ['registry.example:5000/image', 'registry.example:5000'],
    ['REGISTRY.example/image', 'registry.example'],
    ['localhost/image', 'localhost'],
    ['[2001:db8::1]:5000/a', '[2001:db8::1]:5000'],
    ['registry/image', 'docker.io'],
  ])('must be the one that Docker asks: %s', (repository, registry) => {
    expect(registryOf({ repository })).toBe(registry);
  });
});
