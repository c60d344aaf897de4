import { Cluster } from '../support/cluster';
import { DockerProxy } from '../support/docker-proxy';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/expect-settled';

jest.setTimeout(300_000);

/** Neither the end of a term nor a sweep may be what takes an operation over. */
const PATIENT = { OPERATION_CLAIM_SECONDS: '600', SWEEP_INTERVAL_SECONDS: '600', STOP_GRACE_SECONDS: '1' };

/** 5 s is what is promised; the machine may be busy. */
const TAKEN_OVER_WITHIN_MS = 10_000;

const STOP = /^POST .*\/containers\/:id\/stop$/;

describe('what the only process was at when it died', () => {
  let proxy: DockerProxy;
  let cluster: Cluster;

  beforeAll(async () => {
    proxy = await DockerProxy.open();
    const environment = { ...PATIENT, DOCKER_HOST: proxy.dockerHost };
    cluster = await Cluster.start('takeover-alone', { processes: 1, environment });
  });

  afterAll(async () => {
    await cluster.stop();
    await proxy.close();
  });

  it('must be taken over within seconds of its next start', async () => {
    const [server] = cluster.servers;
    const [api] = await cluster.user();
    if (!server || !api) throw new Error('there is no server');
    const { db_id } = await api.running();
    let asked: Promise<unknown> = Promise.resolve();
    await new Promise<void>((resolve) => {
      proxy.arm({ fault: 'kill_after', nth: 1, call: STOP, onKill: () => void server.kill().then(resolve) });
      asked = api.stop(db_id).catch(() => null);
    });
    await asked;
    proxy.arm(null);
    await server.start();
    const [again] = cluster.clients(api.token);
    await eventually(async () => expect((await again?.get(db_id))?.body).toMatchObject({ status: 'stopped' }), {
      timeoutMs: TAKEN_OVER_WITHIN_MS,
    });
    if (again) await expectSettled(again, cluster.docker, db_id);
  });
});
