/** gVisor under Docker: proved by a container that really runs, since a registered runtime may well not work. */
import { findCommands, run } from './command.mjs';
import { killContainerProcesses } from './own-daemon-processes.mjs';
import { say, step } from './steps.mjs';

/** How Docker names gVisor; the name that Berth's SANDBOX_RUNTIME has too. */
export const runtimeName = 'runsc';

/**
 * By default gVisor keeps what a container writes outside its volumes in a hidden file of its own: it is lost at every
 * stop, and after a SIGKILL the file left behind makes the container unstartable ("already has a filestore file").
 * https://gvisor.dev/docs/user_guide/filesystem/
 */
const KEEP_WRITES = '--overlay2=none';

/** Some gVisor releases refuse their own network stack on some kernels; the container's own network namespace stays. */
const HOST_NETWORK = '--network=host';

/** With these it works on every kernel that it was seen on. */
export const safeArguments = [KEEP_WRITES, HOST_NETWORK];

/**
 * @param {string} output of `runsc --version`: `release-20240729.0`, in Debian's package `0.0~20240729.0`
 * @returns {number} the release's date and number; 0 if there is none
 */
export function releaseIn(output) {
  const [, date, number] = /(?:release-|~)(\d{8})\.(\d+)/.exec(output) ?? [];
  return date === undefined ? 0 : Number(`${date}.${number.padStart(3, '0')}`);
}

/**
 * An operator who installs a release of gVisor beside Debian's wants that one.
 * @returns {Promise<string | undefined>} the path of the newest gVisor; of equal ones the first in the search path
 */
export async function findGvisor() {
  const paths = findCommands(runtimeName);
  if (paths.length < 2) return paths[0];
  const outputs = await Promise.all(paths.map((path) => run(path, ['--version']).catch(() => '')));
  const releases = outputs.map(releaseIn);
  return paths[releases.indexOf(Math.max(...releases))];
}

const labels = { 'berth.smoke-test': 'true' };

/**
 * Runs a container under gVisor, without network, and removes it.
 * @param {import('./docker-api.mjs').DockerApi} api
 * @param {{ image: string, own?: boolean }} options own: the daemon is ours, so processes it cannot remove may be
 *   killed
 * @returns {Promise<string | undefined>} why gVisor does not work; undefined if it does
 */
async function smokeTest(api, { image, own = false }) {
  await removeEarlier(api, { own });
  // gVisor names itself in its kernel log, so a runtime that only bears its name is found out.
  const command = ['/bin/sh', '-c', 'command -v dmesg >/dev/null || exit 0; dmesg | grep -qi gvisor'];
  const body = { Image: image, Cmd: command, Entrypoint: [], Labels: labels };
  body.HostConfig = { Runtime: runtimeName, NetworkMode: 'none' };
  let id;
  try {
    ({ Id: id } = await api.call('POST', '/containers/create', { json: body }));
    await api.call('POST', `/containers/${id}/start`);
    const result = await api.call('POST', `/containers/${id}/wait`, { signal: AbortSignal.timeout(120_000) });
    return result.StatusCode === 0
      ? undefined
      : `the runtime "${runtimeName}" is not gVisor (code ${result.StatusCode})`;
  } catch (error) {
    return error.message;
  } finally {
    if (id) await removeContainer(api, { id, own });
  }
}

/** After a failed start gVisor's process stays, and Docker can then not remove the container. */
async function removeContainer(api, { id, own }) {
  const remove = () => api.remove(`/containers/${id}?force=true&v=true`);
  await remove().catch(async () => {
    if (!own) return;
    await killContainerProcesses(id);
    await remove().catch(() => {});
  });
  if (own) await killContainerProcesses(id);
}

async function removeEarlier(api, { own }) {
  // By the value: of a sandbox's image that has such a label Berth leaves the name.
  const label = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  const filters = encodeURIComponent(JSON.stringify({ label }));
  for (const { Id: id } of await api.call('GET', `/containers/json?all=true&filters=${filters}`)) {
    await removeContainer(api, { id, own });
  }
}

/** The part of the own daemon's configuration that registers gVisor; arguments that proved good stay. */
export function withGvisor(config, path) {
  const runtimeArgs = config.runtimes?.[runtimeName]?.runtimeArgs ?? [KEEP_WRITES];
  return { ...config, runtimes: { ...config.runtimes, [runtimeName]: { path, runtimeArgs } } };
}

function argsIn(config) {
  return (config.Runtimes ?? config.runtimes)?.[runtimeName]?.runtimeArgs;
}

/**
 * Proves gVisor in the own daemon, finds the arguments it needs here, and unregisters it if none works, so that
 * no test uses it.
 * @param {import('./own-daemon.mjs').OwnDaemon} daemon
 * @returns {Promise<string | undefined>} why it does not work
 */
export async function proveOwnGvisor(daemon, { image }) {
  let reason = await smokeTest(daemon.api, { image, own: true });
  const { runtimes, ...config } = daemon.readConfig();
  const runtime = runtimes[runtimeName];
  if (reason && !runtime.runtimeArgs.includes(HOST_NETWORK)) {
    runtime.runtimeArgs = [...runtime.runtimeArgs, HOST_NETWORK];
    daemon.writeConfig({ ...config, runtimes });
    await daemon.reload((info) => argsIn(info)?.includes(HOST_NETWORK));
    reason = await smokeTest(daemon.api, { image, own: true });
  }
  if (!reason) return undefined;
  daemon.writeConfig(config);
  await daemon.reload((info) => info.Runtimes[runtimeName] === undefined);
  return reason;
}

const register = [
  `Install gVisor (Debian: apt-get install ${runtimeName}), add to /etc/docker/daemon.json`,
  `  { "runtimes": { "${runtimeName}": { "path": "/usr/bin/${runtimeName}", "runtimeArgs": ["${KEEP_WRITES}"] } } }`,
  'and reload Docker (systemctl reload docker). Where the gVisor refuses its own network ("cannot run with network',
  `enabled in root network namespace"), add "${HOST_NETWORK}" to runtimeArgs.`,
];

/** Looks whether a Docker that is not ours has a gVisor that works; changes nothing there. */
export async function inspectForeignGvisor(api, { image }) {
  const info = await api.info();
  if (!info.Runtimes?.[runtimeName]) return { reason: `this Docker has no runtime "${runtimeName}"`, advice: register };
  const reason = await smokeTest(api, { image });
  if (reason) return { reason, advice: register };
  if (argsIn(info)?.some((argument) => argument.startsWith('--overlay2='))) return {};
  return {
    note: [
      `This gVisor forgets what is written outside /home/user at every stop: add "${KEEP_WRITES}"`,
      'to its runtimeArgs in /etc/docker/daemon.json and reload Docker.',
    ],
  };
}

/**
 * @param {{ api: object, own?: import('./own-daemon.mjs').OwnDaemon }} docker
 * @param {{ image: string }} options
 * @returns {Promise<boolean>} whether containers can run under gVisor
 */
export async function checkGvisor({ api, own }, { image }) {
  const { reason, advice, note } = await step(
    'testing gVisor with a container',
    async () => (own ? { reason: await proveOwnGvisor(own, { image }) } : inspectForeignGvisor(api, { image })),
    { isGood: ({ reason: why }) => !why, detail: ({ reason: why }) => (why ? 'it does not work' : 'works') },
  );
  if (reason) say(`! gVisor does not work here: ${reason}`);
  for (const line of advice ?? note ?? []) say(`  ${line}`);
  return reason === undefined;
}
