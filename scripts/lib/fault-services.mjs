/**
 * What the tests under faults stand on: a Docker, a PostgreSQL and a Redis that are theirs alone. The tests run in
 * another process and have these ended and started again by `POST /SERVICE/HOW` on a socket, answered once the service
 * is there again.
 */
import { offerActions } from './control-socket.mjs';
import { Problem } from './problem.mjs';
import { ensureQuickImages } from './sandbox-image.mjs';
import { step } from './steps.mjs';
import { databaseActions, startPostgresServer, startRedisServer } from './test-databases.mjs';
import { emptyDocker, refillDocker, startThrowawayDocker } from './throwaway-docker.mjs';

/** @returns {Promise<object>} environment variables for the tests @throws Problem */
export async function startFaultServices() {
  if (process.getuid?.() !== 0) {
    throw new Problem('The tests under faults kill their Docker daemon, so they need one of their own.', [
      'Only root can start one. The other parts alone: node scripts/test.mjs check|unit|data|e2e',
    ]);
  }
  const { api, own: docker } = await startThrowawayDocker('faulty');
  await ensureQuickImages(api);
  const postgres = await step('starting PostgreSQL', () => startPostgresServer({ survivesCrash: true }));
  const redis = await step('starting Redis', startRedisServer);
  const control = await offerActions('faults', {
    '/docker/restart': () => docker.restart({ kill: false }),
    '/docker/kill': () => docker.restart({ kill: true }),
    '/docker/empty': () => emptyDocker(docker),
    '/docker/refill': () => refillDocker(docker),
    ...databaseActions({ postgres, redis }),
  });
  const env = { DOCKER_HOST: docker.host, TEST_POSTGRES_URL: postgres.url, TEST_REDIS_URL: redis.url };
  return { ...env, TEST_FAULTS_CONTROL: control };
}
