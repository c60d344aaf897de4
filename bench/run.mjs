/**
 * `npm run bench`: how close Berth comes to what it stands on. Sets up what it needs like the tests do, and writes the results
 * to `bench/results/` and the table in `bench/README.md`. `npm run bench -- reads lifecycle` runs a part.
 */
import { build } from '../scripts/lib/build.mjs';
import { readSettings } from '../scripts/lib/environment-file.mjs';
import { runtimeName } from '../scripts/lib/gvisor.mjs';
import { printFailure, Problem } from '../scripts/lib/problem.mjs';
import { runEnd, runScript } from '../scripts/lib/shutdown.mjs';
import { say, step } from '../scripts/lib/steps.mjs';
import { startPostgres } from '../scripts/lib/test-databases.mjs';
import { startTestDocker } from '../scripts/lib/test-docker.mjs';
import { testImage } from '../scripts/lib/test-image.mjs';
import { prepareTestRun } from '../scripts/lib/test-preparation.mjs';
import { connect } from './lib/docker.mjs';
import { machine, write } from './lib/report.mjs';
import { startBerth } from './lib/server.mjs';
import { lifecycle } from './lifecycle.mjs';
import { outsideEvents } from './outside-events.mjs';
import { reads } from './reads.mjs';

const PARTS = ['lifecycle', 'events', 'reads'];

async function withBerth(options, work) {
  const berth = await startBerth(options);
  try {
    return await work(berth);
  } finally {
    await berth.stop();
  }
}

async function measure({ parts, env, docker }) {
  const image = testImage;
  const figures = [];
  const add = async (name, options, work) => {
    const made = await step(name, (progress) => withBerth({ env, ...options }, (berth) => work(berth, progress)));
    figures.push(...made);
  };
  if (parts.includes('lifecycle')) {
    await add('the verbs', {}, (berth, progress) => lifecycle({ berth, docker, image, progress }));
  }
  if (parts.includes('events')) {
    await add('events from outside', {}, (berth, progress) => outsideEvents({ berth, docker, image, progress }));
  }
  if (parts.includes('reads')) {
    await add('reads on SQLite', {}, (berth, progress) => reads({ berth, image, database: 'SQLite', progress }));
    const databaseUrl = await step('starting PostgreSQL', startPostgres);
    await add('reads on PostgreSQL', { databaseUrl }, (berth, progress) =>
      reads({ berth, image, database: 'PostgreSQL', progress }),
    );
  }
  return figures;
}

async function bench(asked) {
  const unknown = asked.find((part) => !PARTS.includes(part));
  if (unknown) throw new Problem(`There is no part "${unknown}".`, [`Parts: ${PARTS.join(', ')}; none: all`]);
  await prepareTestRun();
  await step('building', build);
  const api = await startTestDocker(readSettings());
  const env = { ...process.env, DOCKER_HOST: api.host, SANDBOX_RUNTIME: runtimeName };
  const docker = connect(api.host);
  const figures = await measure({ parts: asked.length > 0 ? asked : PARTS, env, docker });
  const { ServerVersion: version } = await docker.info();
  say(write({ figures, about: machine({ docker: version }) }));
}

void runScript(async () => {
  try {
    await bench(process.argv.slice(2));
    return 0;
  } catch (error) {
    printFailure(error);
    return 1;
  } finally {
    await runEnd();
  }
});
