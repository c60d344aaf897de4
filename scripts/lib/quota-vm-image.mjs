/**
 * What the virtual machine of the quota tests boots from: a Debian with Docker and gVisor, its kernel and its initrd.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './command.mjs';
import { runtimeName, safeArguments } from './gvisor.mjs';
import { Problem } from './problem.mjs';
import { cacheFolder, makeDataFolder, projectRoot } from './project.mjs';
import { debianMirror, debianSuite } from './sandbox-image.mjs';
import { step } from './steps.mjs';
import { rememberGroup } from './test-remains.mjs';

const initScript = join(projectRoot, 'scripts', 'lib', 'quota-vm-init.sh');
/** The kernel brings its own initrd; `kmod` loads modules, `iproute2` sets up the network. */
const packages = ['docker.io', runtimeName, 'iptables', 'iproute2', 'kmod', 'xfsprogs'];
const CACHE_MAX_AGE_MS = 30 * 24 * 3600 * 1000;
/** Sparse; about 600 MB are used. */
const ROOT_SIZE = '2G';
const PREFIX = 'quota-vm-';
const UNFINISHED = '.part';

const daemonConfig = { runtimes: { [runtimeName]: { path: `/usr/bin/${runtimeName}`, runtimeArgs: safeArguments } } };

/** Another recipe is another image. */
function nameOf(kernel) {
  const recipe = createHash('sha256').update(readFileSync(initScript));
  recipe.update(JSON.stringify([debianSuite, packages, daemonConfig]));
  return `${PREFIX}${kernel}-${recipe.digest('hex').slice(0, 12)}`;
}

const isFresh = (folder) =>
  existsSync(folder) && Date.now() - statSync(join(folder, 'root.img')).mtimeMs < CACHE_MAX_AGE_MS;

function removeOthers(name) {
  for (const entry of readdirSync(cacheFolder)) {
    if (entry.startsWith(PREFIX) && entry !== name) rmSync(join(cacheFolder, entry), { recursive: true, force: true });
  }
}

/** Paths go into a shell's words. */
const quoted = (path) => `'${path.replaceAll("'", `'\\''`)}'`;

async function buildIn(folder, { kernel, progress }) {
  const root = join(folder, 'root');
  const config = join(folder, 'daemon.json');
  writeFileSync(config, JSON.stringify(daemonConfig, null, 2));
  const hooks = [
    `mkdir -p "$1/etc/docker" && cp ${quoted(config)} "$1/etc/docker/daemon.json"`,
    `install -m 755 ${quoted(initScript)} "$1/usr/sbin/berth-vm-init"`,
    `mv "$1"/boot/vmlinuz-* ${quoted(join(folder, 'kernel'))} && mv "$1"/boot/initrd.img-* ${quoted(join(folder, 'initrd'))}`,
  ];
  const options = ['--mode=root', '--variant=minbase', '--format=directory', '--aptopt=Acquire::Retries "2"'];
  options.push(`--include=${[...packages, kernel].join(',')}`, ...hooks.map((hook) => `--customize-hook=${hook}`));
  for (const part of ['doc', 'locale', 'man']) options.push(`--dpkgopt=path-exclude=/usr/share/${part}/*`);
  // Its mounts are in a namespace of their own, so that not even a killed run leaves any behind.
  const command = ['--mount', 'mmdebstrap', ...options, debianSuite, root, ...(await debianMirror())];
  await run('unshare', command, { cwd: folder, onLine: progress, onStart: rememberGroup });
  progress('writing the disk');
  const disk = join(folder, 'root.img');
  await run('mke2fs', ['-q', '-t', 'ext4', '-O', '^has_journal', '-d', root, disk, ROOT_SIZE], { cwd: folder });
  rmSync(root, { recursive: true, force: true });
}

/**
 * @param {{ kernel: string }} options the Debian package of the kernel
 * @returns {Promise<{ disk: string, kernel: string, initrd: string }>} made now or lately
 * @throws Problem
 */
export async function quotaVmImage({ kernel }) {
  const name = nameOf(kernel);
  const folder = join(makeDataFolder(cacheFolder), name);
  removeOthers(name);
  if (!isFresh(folder)) {
    rmSync(folder, { recursive: true, force: true });
    const part = makeDataFolder(`${folder}${UNFINISHED}`);
    try {
      await step('building the virtual machine from Debian packages', (progress) =>
        buildIn(part, { kernel, progress }),
      );
    } catch (error) {
      throw new Problem('The virtual machine could not be built.', [
        error.message,
        ...(error.advice ?? []),
        'It needs root and a Debian mirror.',
      ]);
    }
    renameSync(part, folder);
  }
  return { disk: join(folder, 'root.img'), kernel: join(folder, 'kernel'), initrd: join(folder, 'initrd') };
}
