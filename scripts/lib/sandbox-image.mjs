/**
 * The images that Berth builds on the machine and never pulls: `berth/sandbox`, the catalogue's default, with the tools
 * of every day, `berth/minimal`, and `berth/code`, which runs code, and is built by `npm run images -- code` alone. On
 * Debian's own image where a registry answers, otherwise from Debian's packages.
 */
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { URLSearchParams } from 'node:url';
import { ensurePackages, canInstallPackages } from './apt.mjs';
import { findCommand, run } from './command.mjs';
import { Problem } from './problem.mjs';
import { cacheFolder, makeDataFolder, projectRoot } from './project.mjs';
import { say, step } from './steps.mjs';

export const sandboxImage = 'berth/sandbox:latest';
export const minimalImage = 'berth/minimal:latest';
export const codeImage = 'berth/code:latest';
export const debianSuite = 'trixie';

const fewPackages = ['bash', 'ca-certificates', 'curl', 'procps'];
const everyDay = [
  'git',
  'jq',
  'less',
  'make',
  'nano',
  'openssh-client',
  'python-is-python3',
  'python3',
  'python3-pip',
  'python3-venv',
  'rsync',
  'sudo',
  'tmux',
  'unzip',
  'vim',
  'wget',
  'xz-utils',
];
const forCode = [
  'git',
  'nodejs',
  'python3-ipykernel',
  'python3-jupyter-client',
  'python3-matplotlib',
  'python3-numpy',
  'python3-pandas',
  'python3-pil',
  'python3-pip',
  'python3-scipy',
];
/** What is in the images, by their names. */
const packagesOf = {
  [minimalImage]: fewPackages,
  [sandboxImage]: [...fewPackages, ...everyDay],
  [codeImage]: [...fewPackages, ...forCode],
};

/** Where the files of packages/code-server are in the image that runs code. */
const codeFiles = {
  service: '/usr/local/lib/berth/service',
  'server.py': '/usr/local/lib/berth/code/server.py',
  'kernel.mjs': '/usr/local/lib/berth/code/kernel.mjs',
  'berth_kernel.py': '/usr/lib/python3/dist-packages/berth_kernel.py',
  'berth_charts.py': '/usr/lib/python3/dist-packages/berth_charts.py',
};

/** The prompt of bash: with the name of the container, which a sandbox that was started in advance gets later. */
const prompt = "PS1='\\u@${BERTH_NAME:-\\h}:\\w\\$ '\n";

/**
 * Commands that complete an image once its packages are installed.
 *
 * @param {string} of the image
 * @param {{ root?: string, inside?: string }} where root: where the image's files are; inside: what comes before a
 *   command that is to run in the image
 */
function completionOf(of, { root = '', inside = '' } = {}) {
  const decoded = (data) => `echo ${Buffer.from(data).toString('base64')} | base64 -d`;
  const commands = [`${decoded(prompt)} >> ${root}/etc/bash.bashrc`];
  if (of !== codeImage) return commands;
  commands.push(`mkdir -p ${root}/usr/local/lib/berth/code`);
  for (const [name, place] of Object.entries(codeFiles)) {
    const data = readFileSync(join(projectRoot, 'packages', 'code-server', name));
    commands.push(`${decoded(data)} > ${root}${place}`);
  }
  commands.push(`chmod 755 ${root}${codeFiles.service}`);
  // Matplotlib looks for fonts once, which takes seconds.
  commands.push(`${inside}env HOME=/root python3 -c "import matplotlib.font_manager"`);
  return commands;
}

const base = { repo: 'debian', tag: 'trixie-slim' };
const environment = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LANG=C.UTF-8'];

/** A registry that is out of reach may be silent for minutes; one that is there speaks at once. */
const PULL_SILENCE_MS = 10_000;
/** Security updates are wanted in a new image. */
const CACHE_MAX_AGE_MS = 30 * 24 * 3600 * 1000;

/** Imports a root file system as an image. */
export async function importImage(api, { tar, name, changes = [], onMessage }) {
  const [repo, tag] = name.split(':');
  const query = new URLSearchParams({ fromSrc: '-', repo, tag });
  for (const change of changes) query.append('changes', change);
  await api.stream('POST', `/images/create?${query}`, { tar: createReadStream(tar), onMessage });
}

/** @returns {Promise<boolean>} whether Debian's image could be pulled */
async function pullBase(api, progress) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), PULL_SILENCE_MS);
  const onMessage = ({ status, progress: bar }) => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), 6 * PULL_SILENCE_MS);
    progress(`${status ?? ''} ${bar ?? ''}`);
  };
  try {
    await api.stream('POST', `/images/create?fromImage=${base.repo}&tag=${base.tag}`, {
      onMessage,
      signal: silence.signal,
    });
    return true;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

/** The mirror that this machine uses, if it is a Debian of that release; otherwise mmdebstrap's own default. */
export async function debianMirror() {
  const system = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  if (!system.includes(`VERSION_CODENAME=${debianSuite}`)) return [];
  const format = '$(REPO_URI) $(CODENAME) $(COMPONENT)';
  const targets = await run('apt-get', ['indextargets', '--format', format, 'Identifier: Packages']).catch(() => '');
  const [uri] =
    targets
      .split('\n')
      .map((line) => line.split(' '))
      .find(([, name, part]) => name === debianSuite && part === 'main') ?? [];
  return /^https?:/.test(uri ?? '') ? [`deb ${uri} ${debianSuite} main`] : [];
}

/** @param {string} name @param {string} of @returns {Promise<boolean>} whether the build worked, in Docker itself */
async function buildOnBase(api, { name, of, progress }) {
  const folder = mkdtempSync(join(tmpdir(), 'berth-image-'));
  const install = `apt-get install -y --no-install-recommends ${packagesOf[of].join(' ')}`;
  const lines = [
    `FROM ${base.repo}:${base.tag}`,
    `RUN apt-get update && ${install} && rm -rf /var/lib/apt/lists/*`,
    ...completionOf(of).map((command) => `RUN ${command}`),
    ...environment.map((variable) => `ENV ${variable}`),
    'CMD ["/bin/bash"]',
  ];
  try {
    writeFileSync(join(folder, 'Dockerfile'), `${lines.join('\n')}\n`);
    await run('tar', ['-C', folder, '-cf', join(folder, 'context.tar'), 'Dockerfile']);
    await api.stream('POST', `/build?${new URLSearchParams({ t: name, rm: '1' })}`, {
      tar: createReadStream(join(folder, 'context.tar')),
      onMessage: ({ stream }) => progress(stream ?? ''),
    });
    return true;
  } catch (error) {
    progress(error.message);
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @returns {Promise<string>} the root file system as a tar, made now or, unless it is to be fresh, lately */
async function buildRootFileSystem(of, { isFresh, progress }) {
  const packages = packagesOf[of];
  const completion = completionOf(of, { root: '"$1"', inside: 'chroot "$1" ' });
  const digest = createHash('sha256')
    .update([...packages, ...completion].join())
    .digest('hex')
    .slice(0, 8);
  const tar = join(makeDataFolder(cacheFolder), `${debianSuite}-${process.arch}-${digest}.tar`);
  if (!isFresh && existsSync(tar) && Date.now() - statSync(tar).mtimeMs < CACHE_MAX_AGE_MS) return tar;
  // A name of its own: what a killed run started may still be writing.
  const part = `${tar}.${process.pid}.part.tar`;
  for (const name of readdirSync(cacheFolder)) {
    if (name.endsWith('.part.tar')) rmSync(join(cacheFolder, name), { force: true });
  }
  const options = [
    '--variant=minbase',
    `--include=${packages.join(',')}`,
    '--aptopt=Acquire::Retries "5"',
    ...completion.map((command) => `--customize-hook=${command}`),
  ];
  const mirror = await debianMirror();
  const build = () => run('mmdebstrap', [...options, debianSuite, part, ...mirror], { onLine: progress });
  try {
    await build().catch(() => {
      progress('once more');
      rmSync(part, { force: true });
      return build();
    });
    renameSync(part, tar);
    return tar;
  } catch (error) {
    throw new Problem('The image of sandboxes could not be built.', [
      ...error.advice,
      `Let this machine reach a registry or a Debian mirror, or bring an image yourself: docker tag YOUR_IMAGE ${sandboxImage}`,
    ]);
  } finally {
    rmSync(part, { force: true });
  }
}

/** Whether images can be built from Debian's packages here. */
const canBuildFromPackages = () => findCommand('mmdebstrap') !== undefined || canInstallPackages();

/**
 * @param {import('./docker-api.mjs').DockerApi} api
 * @param {{ name: string, of?: string, isFresh?: boolean }} image of: the image whose packages it gets, where that is
 *   not its own name; isFresh: with Debian's current packages, without the cache of an earlier build
 * @throws Problem
 */
export async function buildImage(api, { name, of = name, isFresh = false }) {
  const pulled = await step(`pulling ${base.repo}:${base.tag}`, (progress) => pullBase(api, progress), {
    isGood: (done) => done,
    detail: (done) => (done ? undefined : 'no registry answers'),
  });
  const isBuilt =
    pulled &&
    (await step(
      `building ${name} on ${base.repo}:${base.tag}`,
      (progress) => buildOnBase(api, { name, of, progress }),
      {
        isGood: (done) => done,
        detail: (done) => (done ? undefined : 'it could not install the packages'),
      },
    ));
  if (isBuilt) return;
  if (!canBuildFromPackages()) {
    throw new Problem(`There is no image ${name}, no registry answers, and this user cannot build one.`, [
      `Bring an image: \`docker tag YOUR_IMAGE ${name}\`, or install mmdebstrap and try again.`,
    ]);
  }
  await buildFromPackages(api, { name, of, isFresh });
}

/** @param {import('./docker-api.mjs').DockerApi} api @throws Problem */
export async function buildFromPackages(api, { name, of = name, isFresh = false }) {
  await ensurePackages({ mmdebstrap: 'mmdebstrap' });
  await step(`building ${name} from Debian packages`, async (progress) => {
    const changes = [...environment.map((variable) => `ENV ${variable}`), 'CMD ["/bin/bash"]'];
    const tar = await buildRootFileSystem(of, { isFresh, progress });
    await importImage(api, { tar, name, changes });
  });
}

/** The default image; an existing one is kept unread. @throws Problem */
export async function ensureSandboxImage(api) {
  if (!(await api.hasImage(sandboxImage))) await buildImage(api, { name: sandboxImage });
}

/** The minimal image too, without which all else works. @throws Problem as {@link ensureSandboxImage} */
export async function ensureSandboxImages(api) {
  await ensureSandboxImage(api);
  if (await api.hasImage(minimalImage)) return;
  await buildImage(api, { name: minimalImage }).catch((error) => {
    if (!(error instanceof Problem)) throw error;
    say(`! ${minimalImage} could not be built: ${error.message} \`npm run images\` tries again.`);
  });
}

/** For tests on a Docker of their own: what is quickly built has both names. @throws Problem */
export async function ensureQuickImages(api) {
  if (!(await api.hasImage(minimalImage))) await buildFromPackages(api, { name: minimalImage });
  if (await api.hasImage(sandboxImage)) return;
  const [repo, tag] = sandboxImage.split(':');
  await api.call('POST', `/images/${minimalImage}/tag?${new URLSearchParams({ repo, tag })}`);
}
