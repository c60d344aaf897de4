import { declaredVolumes, limitedVolumes } from './images';

describe('the volumes that an image declares', () => {
  it.each<[unknown, string[]]>([
    [{ Config: { Volumes: { '/var/lib/data': {}, '/cache/': {}, '/cache': {} } } }, ['/cache', '/var/lib/data']],
    [{ Config: { Volumes: { '/home/user': {}, '/home//user/': {}, '/home/user/x': {} } } }, ['/home/user/x']],
    [{ Config: { Volumes: { relative: {}, '/a/../b': {} } } }, ['/b', '/relative']],
    [{ Config: { Volumes: null } }, []],
    [{ Config: null }, []],
    [null, []],
  ])('must be found in %j: %j', (image, paths) => {
    expect(declaredVolumes(image)).toEqual(paths);
  });

  it('must together be no larger than the disk that the user has, and go with the container', () => {
    const mounts = limitedVolumes(['/a', '/b', '/c'], 1024);
    expect(mounts.map(({ Target }) => Target)).toEqual(['/a', '/b', '/c']);
    for (const mount of mounts) {
      expect(mount).toMatchObject({ Type: 'volume', Source: '' });
      expect(mount.VolumeOptions).toMatchObject({ DriverConfig: { Name: 'local', Options: { size: '341M' } } });
    }
    const many = Array.from({ length: 2000 }, (_, index) => `/${String(index)}`);
    expect(limitedVolumes(many, 1024)[0]?.VolumeOptions?.DriverConfig.Options).toEqual({ size: '1M' });
    expect(limitedVolumes([], 1024)).toEqual([]);
  });
});
