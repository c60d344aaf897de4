/**
 * The image in which Berth writes a node's firewall: a shell and the programs of iptables, out of this machine's own
 * files, so that it needs no registry. For real machines docs/cluster.md has a Dockerfile.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { findCommand, run } from '../command.mjs';
import { removeFolder } from '../project.mjs';
import { importImage } from '../sandbox-image.mjs';

export const firewallImage = 'berth/firewall:local';

const TABLES = ['iptables', 'ip6tables'].flatMap((program) => [program, `${program}-restore`]);
/** What each rule's matches and targets are made of, one a file. */
const EXTENSIONS = /^lib(xt|ipt|ip6t)_.*\.so$/;
const LIBRARIES = '/usr/lib';

/** @param {import('../docker-api.mjs').DockerApi} api */
export async function addFirewallImage(api) {
  const folder = mkdtempSync(join(tmpdir(), 'berth-firewall-'));
  try {
    const root = join(folder, 'root');
    const add = (file, at = file) => {
      mkdirSync(dirname(join(root, at)), { recursive: true });
      copyFileSync(file, join(root, at));
    };
    for (const name of ['proc', 'sys', 'dev', 'run', 'etc', 'tmp']) mkdirSync(join(root, name), { recursive: true });
    const tables = realpathSync(findCommand('iptables'));
    const programs = ['sh', 'cat', 'sleep'].map((name) => [name, realpathSync(findCommand(name))]);
    const extensions = extensionsOfIptables();
    for (const [name, file] of programs) add(file, `/bin/${name}`);
    add(tables, `/sbin/${basename(tables)}`);
    for (const name of TABLES) symlinkSync(basename(tables), join(root, 'sbin', name));
    for (const file of extensions) add(file);
    for (const file of await librariesOf([tables, ...programs.map(([, path]) => path), ...extensions])) add(file);
    const tar = join(folder, 'image.tar');
    await run('tar', ['-C', root, '--owner=0', '--group=0', '-cf', tar, '.']);
    await importImage(api, { tar, name: firewallImage, changes: ['ENV PATH=/sbin:/bin', 'CMD ["/bin/sh"]'] });
  } finally {
    removeFolder(folder);
  }
}

function extensionsOfIptables() {
  const folders = readdirSync(LIBRARIES, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const found = folders.map(({ name }) => join(LIBRARIES, name, 'xtables'));
  return [join(LIBRARIES, 'xtables'), ...found].flatMap((folder) =>
    filesIn(folder)
      .filter((name) => EXTENSIONS.test(name))
      .map((name) => join(folder, name)),
  );
}

function filesIn(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** What the dynamic linker loads for these, and itself. */
async function librariesOf(files) {
  const listed = await run('ldd', files);
  return new Set([...listed.matchAll(/(\/\S+\.so\S*) \(0x/g)].map(([, path]) => path));
}
