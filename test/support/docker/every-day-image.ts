import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** What `npm run images` and `npm start` do, with another name: that of the tests' own image stays. */
const BUILD = `
const [, host, name, of] = process.argv;
const { DockerApi } = await import('./scripts/lib/docker-api.mjs');
const { buildFromPackages } = await import('./scripts/lib/sandbox-image.mjs');
await buildFromPackages(new DockerApi(host), { name, of });
`;

/** Builds the default image, with the tools of every day, under a name of the test's. */
export async function buildEveryDayImage(name: string): Promise<void> {
  await build(name, 'berth/sandbox:latest');
}

/** Builds the image that runs code, under a name of the test's. */
export async function buildCodeImage(name: string): Promise<void> {
  await build(name, 'berth/code:latest');
}

async function build(name: string, of: string): Promise<void> {
  const host = process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock';
  const args = ['--input-type=module', '-e', BUILD, host, name, of];
  await promisify(execFile)(process.execPath, args, { cwd: join(__dirname, '..', '..', '..') });
}
