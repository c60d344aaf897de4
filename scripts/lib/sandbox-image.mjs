/**
 * `berth/sandbox:latest`, the catalogue's default image: Debian, pulled where a registry answers, otherwise built
 * from Debian's packages.
 */
import { createReadStream, existsSync, readFileSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { URLSearchParams } from 'node:url';
import { ensurePackages, canInstallPackages } from './apt.mjs';
import { findCommand, run } from './command.mjs';
import { Problem } from './problem.mjs';
import { cacheFolder, makeDataFolder } from './project.mjs';
import { step } from './steps.mjs';

export const sandboxImage = 'berth/sandbox:latest';
export const debianSuite = 'trixie';
const packages = ['bash', 'ca-certificates', 'curl', 'procps'];
const base = { repo: 'debian', tag: 'trixie-slim' };

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

/** @returns {Promise<boolean>} whether it could be pulled */
async function pull(api, progress) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), PULL_SILENCE_MS);
  const onMessage = ({ status, progress: bar }) => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), 6 * PULL_SILENCE_MS);
    progress(`${status ?? ''} ${bar ?? ''}`);
  };
  const [repo, tag] = sandboxImage.split(':');
  try {
    await api.stream('POST', `/images/create?fromImage=${base.repo}&tag=${base.tag}`, {
      onMessage,
      signal: silence.signal,
    });
    await api.call('POST', `/images/${base.repo}:${base.tag}/tag?repo=${encodeURIComponent(repo)}&tag=${tag}`);
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

/** @returns {Promise<string>} the root file system as a tar, made now or lately */
async function buildRootFileSystem(progress) {
  const tar = join(makeDataFolder(cacheFolder), `sandbox-${debianSuite}-${process.arch}.tar`);
  if (existsSync(tar) && Date.now() - statSync(tar).mtimeMs < CACHE_MAX_AGE_MS) return tar;
  // A name of its own: what a killed run started may still be writing.
  const part = `${tar}.${process.pid}.part.tar`;
  for (const name of readdirSync(cacheFolder)) {
    if (name.endsWith('.part.tar')) rmSync(join(cacheFolder, name), { force: true });
  }
  const options = ['--variant=minbase', `--include=${packages.join(',')}`, '--aptopt=Acquire::Retries "5"'];
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
    throw new Problem('The sandbox image could be neither pulled nor built.', [
      ...error.advice,
      `Let this machine reach a registry or a Debian mirror, or bring an image yourself: docker tag YOUR_IMAGE ${sandboxImage}`,
    ]);
  } finally {
    rmSync(part, { force: true });
  }
}

/** @param {import('./docker-api.mjs').DockerApi} api @throws Problem */
export async function ensureSandboxImage(api) {
  if (await api.hasImage(sandboxImage)) return;
  const pulled = await step(`pulling ${base.repo}:${base.tag}`, (progress) => pull(api, progress), {
    isGood: (done) => done,
    detail: (done) => (done ? undefined : 'no registry answers'),
  });
  if (pulled) return;
  if (!findCommand('mmdebstrap') && !canInstallPackages()) {
    throw new Problem('There is no sandbox image, no registry answers, and this user cannot build one.', [
      `Bring an image: \`docker tag YOUR_IMAGE ${sandboxImage}\`, or install mmdebstrap and try again.`,
    ]);
  }
  await ensurePackages({ mmdebstrap: 'mmdebstrap' });
  await buildSandboxImage(api);
}

/** @param {import('./docker-api.mjs').DockerApi} api @throws Problem */
export async function buildSandboxImage(api) {
  await step(`building ${sandboxImage} from Debian packages`, async (progress) => {
    const changes = [
      'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'ENV LANG=C.UTF-8',
      'CMD ["/bin/bash"]',
    ];
    await importImage(api, { tar: await buildRootFileSystem(progress), name: sandboxImage, changes });
  });
}
