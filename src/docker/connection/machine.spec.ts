import { DockerMachine, type ThisMachine } from './machine';

const GB = 1024 ** 3;
const INFO = { MemTotal: 8 * GB, NCPU: 4, DockerRootDir: '/var/lib/docker' };

const here: ThisMachine = {
  totalMemory: () => 8 * GB,
  memoryInfo: () => 'MemTotal: 8388608 kB\nMemFree:  100 kB\nMemAvailable:    3145728 kB\n',
  space: (path) =>
    path === '/var/lib/docker'
      ? Promise.resolve({ total: 100 * GB, free: 50 * GB })
      : Promise.reject(new Error('ENOENT')),
};

async function found(info: unknown, { host = 'unix:///var/run/docker.sock' } = {}): Promise<object> {
  const machine = new DockerMachine(host, here);
  machine.note(info);
  return machine.resources();
}

describe("the machine of the sandboxes' Docker", () => {
  it('must have the sizes that Docker reports, and what the kernel says is free where both are on one machine', async () => {
    expect(await found(INFO)).toEqual({
      memoryMb: 8192,
      cpuShares: 4000,
      freeMemoryMb: 3072,
      diskMb: 102_400,
      freeDiskMb: 51_200,
    });
  });

  it.each([
    ['over the network', INFO, { host: 'tcp://192.0.2.7:2376' }],
    ['in a virtual machine behind a socket', { ...INFO, MemTotal: 4 * GB }, {}],
  ])('must not be taken for this one where Docker is %s', async (_where, info, options) => {
    const { MemTotal } = info;
    const memoryMb = MemTotal / 1024 ** 2;
    expect(await found(info, options)).toEqual({
      memoryMb,
      cpuShares: 4000,
      freeMemoryMb: null,
      diskMb: null,
      freeDiskMb: null,
    });
  });

  it("must be without free disk space where Docker's folder cannot be seen", async () => {
    expect(await found({ ...INFO, DockerRootDir: '/elsewhere' })).toMatchObject({ diskMb: null, freeDiskMb: null });
  });

  it.each([[null], [{}], ['junk'], [{ MemTotal: 0, NCPU: 'many' }]])('must be of unknown size by %j', async (info) => {
    const unknown = { memoryMb: null, cpuShares: null, freeMemoryMb: null, diskMb: null, freeDiskMb: null };
    expect(await found(info)).toEqual(unknown);
  });
});
