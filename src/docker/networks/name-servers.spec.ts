import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig } from '../../config';
import { NameServers, nameServersArchive } from './name-servers';

const ofHost =
  (...servers: string[]) =>
  (): Promise<string[]> =>
    Promise.resolve(servers);
const container = (id: string) => {
  const putArchive = jest.fn(() => Promise.resolve());
  return { putArchive, docker: { id, putArchive } as never };
};
const { signal } = new AbortController();

describe('the name servers of sandboxes', () => {
  it("must be the setting's, and without it at most three of the host's", async () => {
    const four = ofHost('10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4');
    expect(await new NameServers({ SANDBOX_DNS: ['192.0.2.53'] }, four).current()).toEqual(['192.0.2.53']);
    expect(await new NameServers({ SANDBOX_DNS: [] }, four).current()).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']);
  });

  it.each(['127.0.0.53', '::1', 'dns.example', '10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4', '10.0.0.1:53'])(
    'must be refused at start as SANDBOX_DNS=%s',
    (text) => {
      expect(() => parseConfig({ SANDBOX_DNS: text })).toThrow(/SANDBOX_DNS: expected at most three IPv4 addresses/);
    },
  );

  it('must be brought to a container once, and again when they have changed', async () => {
    let current = ['10.0.0.1'];
    const servers = new NameServers({ SANDBOX_DNS: [] }, () => Promise.resolve(current));
    const { putArchive, docker } = container('c');
    for (const expected of [1, 1]) {
      await servers.bring(docker, signal);
      expect(putArchive).toHaveBeenCalledTimes(expected);
    }
    current = ['10.0.0.2'];
    await servers.bring(docker, signal);
    expect(putArchive).toHaveBeenCalledTimes(2);
    current = ['10.0.0.1'];
    await servers.bring(docker, signal);
    expect(putArchive).toHaveBeenCalledTimes(3);
  });

  it('must not be brought to a container that was created with them, nor where there are none', async () => {
    const { putArchive, docker } = container('c');
    const servers = new NameServers({ SANDBOX_DNS: [] }, ofHost('10.0.0.1'));
    servers.note('c', ['10.0.0.1']);
    await servers.bring(docker, signal);
    await new NameServers({ SANDBOX_DNS: [] }, ofHost()).bring(docker, signal);
    expect(putArchive).not.toHaveBeenCalled();
  });

  it('must be an archive that tar reads', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-archive-'));
    try {
      execFileSync('tar', ['-x', '-C', folder], { input: await nameServersArchive(['10.0.0.1', '10.0.0.2']) });
      const file = join(folder, 'var/lib/berth/name-servers');
      expect(readFileSync(file, 'utf8')).toBe('10.0.0.1\n10.0.0.2\n');
      expect(statSync(file).mode & 0o777).toBe(0o644);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
