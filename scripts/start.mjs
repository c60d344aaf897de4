/** `npm start`: from a bare machine to a running API, and back to nothing at Ctrl-C. */
import { join } from 'node:path';
import { ensureBuild } from './lib/build.mjs';
import { demoToken } from './lib/demo-token.mjs';
import { ensureDependencies } from './lib/dependencies.mjs';
import { defaultsFor, readSettings } from './lib/environment-file.mjs';
import { findDocker } from './lib/find-docker.mjs';
import { checkGvisor } from './lib/gvisor.mjs';
import { checkNodeVersion } from './lib/node-version.mjs';
import { endProcess } from './lib/process-identity.mjs';
import { takeLock } from './lib/process-lock.mjs';
import { dataFolder, makeDataFolder } from './lib/project.mjs';
import { ensureSandboxImage, sandboxImage } from './lib/sandbox-image.mjs';
import { ServerProcess } from './lib/server-process.mjs';
import { atEnd, isEnding, runScript } from './lib/shutdown.mjs';
import { say, step } from './lib/steps.mjs';

/** A killed run leaves its server behind, which would hold the port and act on the same containers. */
async function endEarlierServer(lock) {
  const earlier = lock.previous?.server;
  if (earlier) await endProcess(earlier, { graceMs: 20_000 });
}

async function prepareDocker(settings) {
  const docker = await findDocker({
    settings,
    folder: join(dataFolder, 'docker'),
    onStart: (own) =>
      atEnd('stopping the Docker daemon', (hurry) => step('stopping the Docker daemon', () => own.stop({ hurry }))),
  });
  await ensureSandboxImage(docker.api);
  return { ...docker, hasGvisor: await checkGvisor(docker, { image: sandboxImage }) };
}

function serverEnvironment({ settings, docker }) {
  const env = { ...process.env, ...defaultsFor(settings), DOCKER_HOST: docker.api.host };
  // A registered gVisor that does not work must not be picked by "auto"; production gets no such help.
  const isOpenChoice = (settings.SANDBOX_RUNTIME ?? 'auto') === 'auto' && settings.NODE_ENV !== 'production';
  if (!docker.hasGvisor && isOpenChoice) {
    env.SANDBOX_RUNTIME = 'runc';
    say('! containers will run under runc, WITHOUT gVisor: run nothing in them that you do not trust');
  }
  return env;
}

async function printNext({ url, settings, env, ownsDocker }) {
  say('');
  say(`  API    ${url}/api`);
  say(`  Docs   ${url}/api/docs`);
  if (settings.NODE_ENV === 'production') {
    say('  Token  npm run -s token -- --user NAME --tier TIER');
  } else {
    const token = await demoToken({ url, env });
    const body = '{"image":"sandbox","name":"my-first"}';
    say(`  Token  ${token}`);
    say('');
    say('  Create a container:');
    say(
      `  curl -X POST ${url}/api/containers -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '${body}'`,
    );
  }
  say('');
  const atCtrlC = ownsDocker
    ? 'stops everything; containers and their data come back at the next start'
    : 'stops the server; containers go on running in your Docker';
  say(`  Ctrl-C ${atCtrlC}.`);
  say('');
}

async function main() {
  checkNodeVersion();
  makeDataFolder();
  const lock = takeLock(join(dataFolder, 'start.lock'), { what: '`npm start`' });
  atEnd('releasing the lock', () => lock.release());
  await endEarlierServer(lock);

  await ensureDependencies();
  await ensureBuild();
  const settings = readSettings();
  const docker = await prepareDocker(settings);

  const env = serverEnvironment({ settings, docker });
  const { server, url } = await step('starting the server', async () => {
    const child = new ServerProcess({ env, shutdownGraceSeconds: settings.SHUTDOWN_GRACE_SECONDS });
    lock.note({ server: child.identity });
    atEnd('stopping the server', (hurry) =>
      step(
        'stopping the server',
        async () => ((await child.stop({ hurry })) ? undefined : 'killed, it did not stop in time'),
        {
          detail: (how) => how,
        },
      ),
    );
    return {
      server: child,
      url: await child.untilReady({ onSlow: () => say('! the server is slow to start; still waiting') }),
    };
  });
  docker.own?.onUnexpectedEnd((problem) => {
    say(`✗ ${problem.message}`);
    for (const line of problem.advice.slice(0, -2)) say(`  ${line}`);
    say('  Restart with `npm start`; until then the API answers `docker_unavailable`.');
  });
  if (url) await printNext({ url, settings, env, ownsDocker: docker.own !== undefined });

  const { code, signal } = await server.ended;
  if (isEnding()) return 0;
  say(`✗ the server ended by itself (${signal ?? `code ${code}`}); its last lines above say why`);
  return code || 1;
}

void runScript(main, { exitCodeOnSignal: 0 });
