import { FakeDaemon } from '../../test/support/fakes/fake-daemon';
import { FakeEngine } from '../../test/support/fakes/fake-engine';
import { DomainError } from '../errors';
import type { CatalogImage } from './load-images';
import { ImageCatalog } from './image-catalog';

const IMAGES: CatalogImage[] = [
  { name: 'sandbox', reference: 'berth/sandbox:latest', description: 'the default', default: true, pull: 'never' },
  { name: 'ubuntu', reference: 'ubuntu:24.04', description: 'Ubuntu', default: false, pull: 'daily' },
];

const catalog = (
  CUSTOM_IMAGES: 'allow' | 'deny' = 'allow',
  daemon = new FakeDaemon(),
  CUSTOM_IMAGE_REGISTRIES: string[] = [],
): ImageCatalog => new ImageCatalog(IMAGES, { CUSTOM_IMAGES, CUSTOM_IMAGE_REGISTRIES }, new FakeEngine(daemon));

function faultsOf(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error instanceof DomainError ? [error.kind, error.options.fields?.['details']] : error;
  }
}

describe('the image of a request', () => {
  it.each([
    ['a name', { image: 'ubuntu' }, 'ubuntu:24.04'],
    ['exactly a reference', { image: 'ubuntu:24.04' }, 'ubuntu:24.04'],
    [
      'custom',
      { image: 'custom', customImage: 'registry.example/owner/image:1.2' },
      'registry.example/owner/image:1.2',
    ],
  ])('must be found by %s', (_how, request, reference) => {
    expect(catalog().resolve(request)).toBe(reference);
  });

  it.each([
    ['an unknown name', { image: 'windows' }, 'image', /one of sandbox, ubuntu, custom/],
    ['another tag', { image: 'ubuntu:22.04' }, 'image', /one of/],
    ['a name of the prototype', { image: 'constructor' }, 'image', /one of/],
    ['custom without its image', { image: 'custom' }, 'custom_image', /is required/],
    [
      'a custom image beside a name',
      { image: 'ubuntu', customImage: 'alpine' },
      'custom_image',
      /only with image "custom"/,
    ],
    ['a custom image that is none', { image: 'custom', customImage: 'a b' }, 'custom_image', /an image reference/],
    ['the beginning of an image’s id', { image: 'custom', customImage: '0a1b' }, 'custom_image', /not an id/],
    ['an empty custom image', { image: 'custom', customImage: '' }, 'custom_image', /an image reference/],
    ['an endless one', { image: 'custom', customImage: 'a'.repeat(256) }, 'custom_image', /at most 255/],
  ])('must be refused with %s, naming the field', (_what, request, field, message) => {
    expect(faultsOf(() => catalog().resolve(request))).toEqual([
      'invalid_parameters',
      [{ field, message: expect.stringMatching(message) as string }],
    ]);
  });

  it('must not make Docker ask this machine or its network, nor a registry that the operator does not list', () => {
    const customImage = '127.0.0.1:6379/x';
    const fault = { field: 'custom_image', message: expect.stringMatching(/127\.0\.0\.1:6379.*not allowed/) as string };
    expect(faultsOf(() => catalog().resolve({ image: 'custom', customImage }))).toEqual([
      'invalid_parameters',
      [fault],
    ]);
    const listed = catalog('allow', new FakeDaemon(), ['127.0.0.1:*']);
    expect(listed.resolve({ image: 'custom', customImage })).toBe(customImage);
    expect(faultsOf(() => listed.resolve({ image: 'custom', customImage: 'alpine' }))).toMatchObject([
      'invalid_parameters',
      [{ message: expect.stringMatching(/docker\.io/) }],
    ]);
  });

  it('must be of the catalogue where custom images are denied, and never be offered', () => {
    const denied = catalog('deny');
    expect(faultsOf(() => denied.resolve({ image: 'custom', customImage: 'alpine' }))).toMatchObject([
      'invalid_parameters',
      [{ field: 'image' }],
    ]);
    expect(faultsOf(() => denied.resolve({ image: 'x' }))).toEqual([
      'invalid_parameters',
      [{ field: 'image', message: 'must be one of sandbox, ubuntu' }],
    ]);
  });
});

describe('the list', () => {
  it('must say which images are here', async () => {
    const daemon = new FakeDaemon();
    daemon.images.add('ubuntu:24.04');
    expect(await catalog('allow', daemon).list()).toEqual([
      {
        name: 'sandbox',
        reference: 'berth/sandbox:latest',
        description: 'the default',
        default: true,
        pull: 'never',
        available: false,
        template: null,
      },
      {
        name: 'ubuntu',
        reference: 'ubuntu:24.04',
        description: 'Ubuntu',
        default: false,
        pull: 'daily',
        available: true,
        template: null,
      },
    ]);
  });

  it('must still be answered when Docker does not answer', async () => {
    const daemon = new FakeDaemon();
    daemon.down = true;
    expect((await catalog('allow', daemon).list()).map(({ available }) => available)).toEqual([null, null]);
  });
});
