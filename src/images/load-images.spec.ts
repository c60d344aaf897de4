import { ConfigError } from '../config';
import { DEFAULT_IMAGES, loadImages, parseImages } from './load-images';

const image = { name: 'ubuntu', reference: 'ubuntu:24.04', description: 'Ubuntu', default: true };

describe('the catalogue', () => {
  it('must be valid as it comes', () => {
    expect(parseImages({ images: DEFAULT_IMAGES }, 'default')).toEqual(DEFAULT_IMAGES);
    expect(loadImages(undefined)).toBe(DEFAULT_IMAGES);
  });

  it('must be replaced by the operator’s', () => {
    const short = { name: 'debian', reference: 'debian:13-slim' };
    expect(parseImages({ images: [image, short] }, 'x.json')).toEqual([
      { ...image, pull: 'missing' },
      { ...short, description: '', default: false, pull: 'missing' },
    ]);
  });

  it('must never pull what is built here, whatever else it says of it', () => {
    const built = { name: 'sandbox', reference: 'berth/sandbox:latest', default: true };
    for (const given of [built, { ...built, pull: 'missing' }, { ...built, pull: 'never' }]) {
      expect(parseImages({ images: [given] }, 'x.json')).toMatchObject([{ pull: 'never' }]);
    }
    const asked = { images: [{ ...built, pull: 'daily' }] };
    expect(() => parseImages(asked, 'x.json')).toThrow(/images\.0\.pull: .*berth\/sandbox:latest is built here/);
    expect(DEFAULT_IMAGES.filter(({ pull }) => pull === 'never').map(({ name }) => name)).toEqual([
      'sandbox',
      'minimal',
      'code',
    ]);
  });

  it.each([
    ['no object', null, /file: /],
    ['no image', { images: [] }, /images: /],
    ['an unknown field', { images: [{ ...image, tag: 'x' }] }, /images\.0: .*tag/],
    ['a name twice', { images: [image, { ...image, default: false }] }, /images\.1\.name: "ubuntu" is there twice/],
    ['the name custom', { images: [{ ...image, name: 'custom' }] }, /images\.0\.name: "custom"/],
    ['a name with a slash', { images: [{ ...image, name: 'a/b' }] }, /images\.0\.name: /],
    ['a bad reference', { images: [{ ...image, reference: 'Ubuntu' }] }, /images\.0\.reference: /],
    ['an unknown pull policy', { images: [{ ...image, pull: 'weekly' }] }, /images\.0\.pull: /],
    ['no default', { images: [{ ...image, default: false }] }, /images: exactly one/],
    ['two defaults', { images: [image, { ...image, name: 'b' }] }, /images: exactly one/],
  ])('must be refused with %s', (_what, json, message) => {
    expect(() => parseImages(json, 'x.json')).toThrow(ConfigError);
    expect(() => parseImages(json, 'x.json')).toThrow(message);
  });

  it('must report every fault at once, and the file', () => {
    const faults = {
      images: [
        { ...image, name: '' },
        { ...image, reference: '' },
      ],
    };
    expect(() => parseImages(faults, 'x.json')).toThrow(/x\.json[^]*images\.0\.name[^]*images\.1\.reference/);
  });

  it('must say which file cannot be read', () => {
    expect(() => loadImages('/nonexistent/images.json')).toThrow(
      /IMAGES_FILE: \/nonexistent\/images\.json cannot be read/,
    );
  });
});
