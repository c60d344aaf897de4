import { readChanges } from './layer-changes';

async function* entries(...changes: readonly (readonly [string, number])[]): AsyncGenerator {
  for (const [Path, Kind] of changes) yield await Promise.resolve({ Path, Kind });
}

/** The changes of a sandbox in which nothing was written, as Docker 26.1 lists them. */
const FRESH = [
  ['/home', 0],
  ['/home/user', 1],
  ['/usr', 0],
  ['/usr/sbin', 0],
  ['/usr/sbin/docker-init', 1],
  ['/var', 0],
  ['/var/lib', 0],
  ['/var/lib/berth', 1],
  ['/var/lib/berth/name-servers', 1],
] as const;

describe('what is in a writable layer', () => {
  it('must not count what Docker and Berth themselves leave there', async () => {
    expect(await readChanges(entries(...FRESH))).toEqual({ isOnHost: true, isWritten: false, hasProof: false });
  });

  it.each([
    ['an added file', ['/opt/tool', 1]],
    ['a changed file beside a mount point', ['/etc/passwd', 0]],
    ['a deleted file', ['/etc/motd', 2]],
    ['a deleted folder above a mount point', ['/usr/sbin', 2]],
    ['a file whose name begins like a mount point', ['/home/user2', 1]],
  ] as const)('must count %s', async (_name, change) => {
    expect(await readChanges(entries(...FRESH, change))).toEqual({ isOnHost: true, isWritten: true, hasProof: false });
  });

  it('must tell whether the file of the proof is there', async () => {
    expect(await readChanges(entries(...FRESH, ['/berth-proof', 1]))).toMatchObject({ hasProof: true });
  });

  it('must report that gVisor keeps the files in a file of its own, which counts as no write', async () => {
    const changes = await readChanges(entries(...FRESH, [`/.gvisor.filestore.${'0'.repeat(64)}`, 1]));
    expect(changes).toEqual({ isOnHost: false, isWritten: false, hasProof: false });
  });

  it('must not take an unreadable entry for no change', async () => {
    await expect(readChanges(entries(...FRESH, ['/x', NaN]))).rejects.toMatchObject({ code: 'docker_unavailable' });
  });
});
