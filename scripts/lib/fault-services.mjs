/**
 * What the tests under faults stand on: a Docker, a PostgreSQL and a Redis that are theirs alone. The tests run in
 * another process and have these ended and started again by `POST /SERVICE/HOW` on a socket, answered once the service
 * is there again.
 */
import { createServer } from 'node:http';
import { join } from 'node:path';
import { Problem } from './problem.mjs';
import { atEnd, isEnding } from './shutdown.mjs';
import { step } from './steps.mjs';
import { startPostgresServer, startRedisServer } from './test-databases.mjs';
import { temporaryFolder } from './test-remains.mjs';
import { emptyDocker, refillDocker, startThrowawayDocker } from './throwaway-docker.mjs';

/** @returns {Promise<object>} environment variables for the tests @throws Problem */
export async function startFaultServices() {
  if (process.getuid?.() !== 0) {
    throw new Problem('The tests under faults kill their Docker daemon, so they need one of their own.', [
      'Only root can start one. The other parts alone: node scripts/test.mjs check|unit|data|e2e',
    ]);
  }
  const { own: docker } = await startThrowawayDocker('faulty');
  const postgres = await step('starting PostgreSQL', () => startPostgresServer({ survivesCrash: true }));
  const redis = await step('starting Redis', startRedisServer);
  const control = await offer({
    '/docker/restart': () => docker.restart({ kill: false }),
    '/docker/kill': () => docker.restart({ kill: true }),
    '/docker/empty': () => emptyDocker(docker),
    '/docker/refill': () => refillDocker(docker),
    '/postgres/restart': () => postgres.restart({ signal: 'SIGINT' }),
    '/postgres/kill': () => postgres.restart({ signal: 'SIGQUIT' }),
    '/redis/restart': () => redis.restart({ signal: 'SIGTERM' }),
    '/redis/kill': () => redis.restart({ signal: 'SIGKILL' }),
  });
  const env = { DOCKER_HOST: docker.host, TEST_POSTGRES_URL: postgres.url, TEST_REDIS_URL: redis.url };
  return { ...env, TEST_FAULTS_CONTROL: control };
}

/** @param {Record<string, () => Promise<void>>} faults by path @returns {Promise<string>} the socket's path */
async function offer(faults) {
  const running = new Set();
  const server = createServer((request, response) => {
    const fault = isEnding() ? undefined : faults[request.url];
    const answer = (status, message) => response.writeHead(status).end(message);
    if (!fault) return void answer(404, `no fault ${request.url}`);
    const done = fault().then(
      () => answer(200, 'done'),
      (error) => answer(500, error.message),
    );
    running.add(done);
    void done.finally(() => running.delete(done));
  });
  const socket = join(temporaryFolder(), 'faults.sock');
  await new Promise((resolve) => server.listen(socket, resolve));
  // What is being started again must be there to be stopped.
  atEnd('ending the faults', () => Promise.all(running));
  atEnd('closing the control of faults', () => server.close());
  return socket;
}
