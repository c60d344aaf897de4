/**
 * `npm start`: from a bare machine to a running API, and back to nothing at Ctrl-C. With `--simulate`: without Docker,
 * on containers that are only simulated.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureBuild } from './lib/build.mjs';
import { ensureCommandLine } from './lib/command-line.mjs';
import { ensureConsole } from './lib/console-build.mjs';
import { ensureDependencies } from './lib/dependencies.mjs';
import { readSettings } from './lib/environment-file.mjs';
import { freePort } from './lib/free-port.mjs';
import { allows, demoTier } from './lib/demo-token.mjs';
import { creation, sayTable, signInLink, tokenToTry } from './lib/how-to-call.mjs';
import { KeptRunning } from './lib/kept-running.mjs';
import { checkNodeVersion } from './lib/node-version.mjs';
import { runFolder } from './lib/project.mjs';
import { takeRunLock } from './lib/run-lock.mjs';
import { prepareDocker, watchDocker } from './lib/sandbox-docker.mjs';
import { serverEnvironment, simulatedEnvironment } from './lib/server-environment.mjs';
import { ServerProcess } from './lib/server-process.mjs';
import { atEnd, isEnding, runScript } from './lib/shutdown.mjs';
import { say, step } from './lib/steps.mjs';
import { ensureSupervisor } from './lib/supervisor-build.mjs';

/** @returns {Promise<string>} its URL @throws Problem if its first start fails; later it is started again */
async function startServer({ env, settings, lock }) {
  // Port 0 is any free one, and stays the server's once it has it.
  let { PORT: port } = env;
  let url;
  const launch = () => {
    const server = new ServerProcess({
      env: { ...env, PORT: port },
      shutdownGraceSeconds: settings.SHUTDOWN_GRACE_SECONDS,
    });
    lock.remember('server', server);
    return server;
  };
  const onReady = (_server, readyAt) => {
    const isBack = url !== undefined;
    url = readyAt;
    port = new URL(url).port;
    if (isBack) say(`✓ the server is back: ${url}`);
  };
  const server = new KeptRunning('the server', { launch, onReady });
  atEnd('stopping the server', (hurry) =>
    step('stopping the server', () => server.stop({ hurry }), {
      detail: (inTime) => (inTime ? undefined : 'killed, it did not stop in time'),
    }),
  );
  await step('starting the server', () => server.start());
  return url;
}

async function sayNext({ url, settings, env, ownsDocker }) {
  const token = await tokenToTry({ url, settings, env, file: join(runFolder, 'demo-token') });
  const isAdmin = token !== undefined && (await allows({ url, token, scopes: ['admin'] }));
  const user = token ? `demo --tier ${demoTier(settings.TIERS_FILE)}` : 'NAME --tier TIER';
  const sshPort = settings.SSH_PORT ?? env.SSH_PORT;
  const link = token && settings.CONSOLE !== 'off' ? await signInLink(url, token) : undefined;
  say('');
  sayTable([
    ...(link ? [['Console', link, 'signs you in once, within the hour']] : []),
    ['API', `${url}/api`],
    ['Docs', `${url}/api/docs`],
    ['Shell', `npx berth login ${url}`],
    ...(sshPort === 'off' ? [] : [['SSH', `ssh NAME@localhost -p ${sshPort}`, 'or npx berth ssh NAME']]),
    ['Token', token ?? 'npm run -s token -- --user NAME --tier TIER'],
    ...(isAdmin ? [] : [['Admin', `npm run -s token -- --user ${user} --scopes read,write,exec,admin`]]),
  ]);
  if (token) {
    say('');
    for (const line of ['Create a container:', creation(url, token)]) say(`  ${line}`);
  }
  say('');
  const atCtrlC =
    env.ENGINE === 'simulated'
      ? 'stops the server; what is simulated comes back at the next start'
      : ownsDocker
        ? 'stops everything; containers and their data come back at the next start'
        : 'stops the server; containers go on running in your Docker';
  sayTable([['Ctrl-C', `${atCtrlC}.`]]);
  say('');
}

/** How often the server is asked what came of the sandbox that it tries, and for how long. */
const PROOF_EVERY_MS = 500;
const PROOF_WITHIN_MS = 120_000;

/** Says in the background what came of it; the server itself goes on in any case. */
async function sayProof(url) {
  const until = performance.now() + PROOF_WITHIN_MS;
  while (!isEnding() && performance.now() < until) {
    const answer = await fetch(`${url}/health/ready`).catch(() => undefined);
    const {
      sandbox_proof: proof,
      idle_sandbox: idle,
      notices = [],
    } = (await answer?.json().catch(() => undefined)) ?? {};
    if (proof === 'proved') say('✓ a sandbox was tried: names, home, memory, processes, its end and its data are well');
    if (proof === 'unproved') say('! the sandbox that was tried could not show everything; the log says why');
    if (proof === 'failed') for (const notice of notices) say(`! ${notice}`);
    if (idle?.advice) say(`! ${idle.advice}`);
    if (proof !== 'proving') return;
    await sleep(PROOF_EVERY_MS);
  }
}

/** Of the listeners of previews and of SSH, unless something else uses it. */
const PREVIEW_PORT = 8081;
const SSH_PORT = 2222;

async function main() {
  checkNodeVersion();
  const lock = await takeRunLock();
  await ensureDependencies();
  await ensureBuild();
  const settings = readSettings();
  const isSimulated = process.argv.includes('--simulate') || settings.ENGINE === 'simulated';
  // Beside what Docker takes, which is longer: a cold start is no slower for it.
  const findDocker = isSimulated ? undefined : prepareDocker(settings);
  const supervisor = isSimulated || settings.SUPERVISOR_FILE ? undefined : ensureSupervisor();
  const [docker] = await Promise.all([findDocker, ensureConsole(settings).then(ensureCommandLine), supervisor]);

  const env = docker ? serverEnvironment({ settings, docker }) : simulatedEnvironment(settings);
  if (settings.PREVIEW_PORT === undefined) env.PREVIEW_PORT = String(await freePort(PREVIEW_PORT));
  if (settings.SSH_PORT === undefined) env.SSH_PORT = String(await freePort(SSH_PORT));
  lock.uses(env.DATABASE_URL);
  const url = await startServer({ env, settings, lock });
  if (docker) watchDocker(docker, 'npm start');
  await sayNext({ url, settings, env, ownsDocker: docker?.own !== undefined });
  void sayProof(url);
  // Until a signal ends it.
  return new Promise(() => {});
}

void runScript(main, { exitCodeOnSignal: 0 });
