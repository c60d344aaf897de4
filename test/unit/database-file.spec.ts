import { chmod, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dataSourceOptions } from '../../ormconfig';
import { connect } from '../../src/database';

/** What others on the machine may do with it. */
const ofOthers = async (path: string): Promise<number> => (await stat(path)).mode & 0o007;

describe('the file of an SQLite database', () => {
  let folder: string;
  let before: number;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-file-'));
    // The least careful environment that it can be started from.
    before = process.umask(0);
  });
  afterEach(async () => {
    process.umask(before);
    await rm(folder, { recursive: true });
  });

  async function openAndWrite(file: string): Promise<void> {
    const dataSource = await connect({ ...dataSourceOptions(`sqlite:${file}`), logging: false });
    try {
      for (const name of await readdir(join(file, '..')))
        expect([name, await ofOthers(join(file, '..', name))]).toEqual([name, 0]);
    } finally {
      await dataSource.destroy();
    }
  }

  it('must be nobody else’s to read, as users’ secrets are in it, nor the files beside it and a folder made for it', async () => {
    await openAndWrite(join(folder, 'made', 'berth.sqlite'));
    expect((await stat(join(folder, 'made'))).mode & 0o077).toBe(0);
  });

  it('must be closed to others where an earlier version left it open', async () => {
    const file = join(folder, 'berth.sqlite');
    await openAndWrite(file);
    await chmod(file, 0o644);
    await openAndWrite(file);
    expect((await stat(file)).mode & 0o777).toBe(0o640);
  });
});
