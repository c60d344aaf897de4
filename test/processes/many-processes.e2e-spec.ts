import type { NewContainer } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';

jest.setTimeout(900_000);

const MANY = 375;

describe('hundreds of processes in a container', () => {
  let server: Berth;
  let user: TestUser;

  beforeAll(async () => {
    server = await Berth.start({ subject: 'many' });
    user = await server.user('enterprise', ['read', 'write', 'exec']);
  });
  afterAll(() => server.stop());

  // Of an image with busybox, whose grep sees nothing behind a zero, and of Debian.
  it.each([undefined, process.env['TEST_SANDBOX_IMAGE']])(
    'must all get a signal, and end, in bounded time (image %s)',
    async (image) => {
      const resources = { memory_mb: 1024, cpu_shares: 1000, disk_mb: 2048 };
      const container: NewContainer = await user.api.running({ ...resources, ...(image && { custom_image: image }) });
      const path = (rest: string): string => `/api/containers/${container.db_id}${rest}`;
      const count = async (): Promise<number> => {
        const command = ['sh', '-c', 'set -- /proc/[0-9]*; echo $#'];
        const { body } = await user.api.call('POST', path('/exec'), { command });
        return Number(body['stdout']);
      };
      const script = `i=0; while [ $i -lt ${String(MANY)} ]; do sleep 100000 & i=$((i+1)); done; exec sleep 100000`;
      const { body } = await user.api.call('POST', path('/processes'), { command: ['sh', '-c', script] });
      await eventually(async () => expect(await count()).toBeGreaterThanOrEqual(MANY));
      const began = performance.now();
      expect(
        (await user.api.call('POST', path(`/processes/${String(body['id'])}/signal`), { signal: 'TERM' })).status,
      ).toBe(200);
      expect(performance.now() - began).toBeLessThan(15_000);
      await eventually(async () => expect(await count()).toBeLessThan(20));
      // Docker may need a second for each process: see docs/operations.md, "gVisor".
      const stopped = await user.api.call('POST', path('/stop'));
      if (stopped.status !== 200) expect(stopped).toMatchObject({ status: 503, body: { code: 'docker_unavailable' } });
      await eventually(
        async () => expect((await user.api.get(container.db_id)).body).toMatchObject({ status: 'stopped' }),
        {
          timeoutMs: 2 * MANY * 1_000,
        },
      );
    },
  );
});
