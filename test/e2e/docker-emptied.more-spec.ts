import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';
import { SecondDocker } from '../support/docker/second-docker';
import { TestClock } from '../support/fakes/test-clock';

jest.setTimeout(300_000);

const DAY = 24 * 3_600_000;

describe('a Docker daemon that was started on an empty data-root', () => {
  const clock = new TestClock();
  let second: SecondDocker;
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    second = await SecondDocker.start('data');
    await second.take(testImage(), new RealDocker().docker);
    const environment = {
      DOCKER_HOST: second.host,
      SANDBOX_RUNTIME: 'runc',
      SANDBOX_FIREWALL: 'off',
      DISK_QUOTA: 'off',
      INSTANCE_ID: 'emptied',
      VOLUME_RETENTION: '1d',
      SWEEP_INTERVAL_SECONDS: '3600',
    };
    berth = await Berth.start({ clock, environment });
    user = await berth.user('enterprise');
  });

  afterAll(async () => {
    await berth.stop();
    await second.discard(['data', 'empty']);
  });

  it('must purge and recreate nothing, and once the data is back all must be right again', async () => {
    const [deleted, kept] = [await user.api.running(), await user.api.running()];
    await writeMark(kept.id);
    expect((await user.api.delete(deleted.db_id)).status).toBe(200);

    await exchange('empty');
    await second.take(testImage(), new RealDocker().docker);
    await eventually(async () =>
      expect(await ready()).toMatchObject({ status: 'degraded', docker_identity: 'changed' }),
    );
    clock.forward(2 * DAY);
    expect(await berth.app.get(Reconciler).sweepNow()).toMatchObject({ purged: 0, failed: 0 });
    expect(await user.api.start(kept.db_id)).toMatchObject({ status: 500, body: { code: 'docker_changed' } });
    expect(await second.dataVolumes()).toEqual([]);

    await exchange('data');
    await eventually(async () => expect(await ready()).toMatchObject({ status: 'ok', docker_identity: 'same' }));
    await eventually(async () => expect(await second.dataVolumes()).toEqual([`berth-${kept.db_id}`]), {
      timeoutMs: 60_000,
    });
    expect((await user.api.start(kept.db_id)).status).toBe(200);
    const { body } = await user.api.get(kept.db_id);
    expect(body).toMatchObject({ id: kept.id, status: 'running' });
    expect(await readMark(kept.id)).toBe('precious\n');
  });

  async function exchange(dataRoot: string): Promise<void> {
    await second.stop();
    await second.startOn(dataRoot);
  }

  const ready = async (): Promise<unknown> => (await user.api.call('GET', '/health/ready')).body;
  const writeMark = (id: string): Promise<string> => exec(id, 'echo precious >/home/user/mark && sync');
  const readMark = (id: string): Promise<string> => exec(id, 'cat /home/user/mark');

  async function exec(id: string, script: string): Promise<string> {
    const running = await second.docker
      .getContainer(id)
      .exec({ Cmd: ['sh', '-c', script], AttachStdout: true, AttachStderr: true, Tty: true });
    const chunks: Buffer[] = [];
    const stream = await running.start({ Tty: true });
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    await new Promise((resolve, reject) => stream.once('end', resolve).once('error', reject));
    return Buffer.concat(chunks).toString().replaceAll('\r', '');
  }
});
