/**
 * `berth/test:latest`: a 2 MB image of a static busybox, imported in an instant, for tests that need no real Debian.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { aptGet, canInstallPackages } from './apt.mjs';
import { findCommand, run } from './command.mjs';
import { Problem } from './problem.mjs';
import { cacheFolder, makeDataFolder } from './project.mjs';
import { importImage } from './sandbox-image.mjs';
import { step } from './steps.mjs';
import { temporaryFolder } from './test-remains.mjs';

export const testImage = 'berth/test:latest';
const folders = ['bin', 'dev', 'etc', 'home/user', 'proc', 'root', 'sys', 'tmp'];

/**
 * The static busybox out of its package, which is not installed: it would replace the machine's own busybox.
 * @returns {Promise<string>} its path
 */
async function staticBusybox(progress) {
  const kept = join(makeDataFolder(join(cacheFolder, 'busybox')), 'usr/bin/busybox');
  if (existsSync(kept)) return kept;
  if (!findCommand('apt-get')) {
    throw new Problem('The test image needs a static busybox.', [`Put one at ${kept}.`]);
  }
  const unpacked = mkdtempSync(join(temporaryFolder(), 'busybox-'));
  const download = () => aptGet(['download', 'busybox-static'], progress, { cwd: unpacked });
  await download().catch(async (error) => {
    if (!canInstallPackages()) throw error;
    await aptGet(['update'], progress);
    await download();
  });
  const archive = readdirSync(unpacked).find((name) => name.endsWith('.deb'));
  await run('dpkg-deb', ['--extract', join(unpacked, archive), unpacked]);
  const binary = ['usr/bin/busybox', 'bin/busybox']
    .map((path) => join(unpacked, path))
    .find((path) => existsSync(path));
  // Whole or not there, whenever this run is killed.
  mkdirSync(dirname(kept), { recursive: true });
  copyFileSync(binary, `${kept}.new`);
  renameSync(`${kept}.new`, kept);
  return kept;
}

/** @param {import('./docker-api.mjs').DockerApi} api */
export async function addTestImage(api) {
  await step(`building ${testImage}`, (progress) => buildTestImage(api, progress));
}

async function buildTestImage(api, progress) {
  const busybox = await staticBusybox(progress);
  // One of its own: a test run may bring the image to two daemons.
  const folder = mkdtempSync(join(temporaryFolder(), 'test-image-'));
  const root = join(folder, 'root');
  for (const name of folders) mkdirSync(join(root, name), { recursive: true });
  copyFileSync(busybox, join(root, 'bin/busybox'));
  for (const applet of (await run(busybox, ['--list'])).trim().split('\n')) {
    if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
  }
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\nuser:x:1000:\n');
  const tar = join(folder, 'image.tar');
  await run('tar', ['-C', root, '--owner=0', '--group=0', '-cf', tar, '.']);
  await importImage(api, { tar, name: testImage, changes: ['ENV PATH=/bin', 'CMD ["/bin/sh"]'] });
}
