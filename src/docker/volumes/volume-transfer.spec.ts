import { setTimeout as sleep } from 'node:timers/promises';
import type { VolumeWork } from './volume-copy';
import { transferVolume, type TransferringVolumes } from './volume-transfer';

const copy = {
  from: 'berth-from',
  to: 'berth-to',
  image: 'image',
  owner: { instance: 'i', containerId: 'c', userId: 'u' },
};

/** A side whose work lasts until it is aborted, and then takes a moment to be removed. */
function slowSide(): { volumes: TransferringVolumes; running: () => number } {
  let count = 0;
  const work = async ({ signal }: VolumeWork): Promise<never> => {
    count++;
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await sleep(50);
    count--;
    throw signal.reason;
  };
  const volumes = { send: work, receive: work, digest: work } as unknown as TransferringVolumes;
  return { volumes, running: () => count };
}

/** A side that cannot be reached. */
const silent = (): Promise<never> => Promise.reject(new Error('unreachable'));
const silentSide = { send: silent, receive: silent, digest: silent } as unknown as TransferringVolumes;

describe('a copy of a volume to another machine', () => {
  it.each(['source', 'target'] as const)('must be over on both sides when the %s has failed', async (failing) => {
    const { volumes, running } = slowSide();
    const sides = failing === 'source' ? ([silentSide, volumes] as const) : ([volumes, silentSide] as const);
    await expect(transferVolume(...sides, copy)).rejects.toThrow('unreachable');
    expect(running()).toBe(0);
  });
});
