import { setTimeout as sleep } from 'node:timers/promises';
import type { VolumeWork } from './volume-copy';
import { transferVolume, type TransferringEngine } from './volume-transfer';

const copy = {
  from: 'berth-from',
  to: 'berth-to',
  image: 'image',
  owner: { instance: 'i', containerId: 'c', userId: 'u' },
};

/** A side whose work lasts until it is aborted, and then takes a moment to be removed. */
function slowSide(): { engine: TransferringEngine; running: () => number } {
  let count = 0;
  const work = async ({ signal }: VolumeWork): Promise<never> => {
    count++;
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await sleep(50);
    count--;
    throw signal.reason;
  };
  const engine = { sendVolume: work, receiveVolume: work, digestVolume: work } as unknown as TransferringEngine;
  return { engine, running: () => count };
}

/** A side that cannot be reached. */
const silent = (): Promise<never> => Promise.reject(new Error('unreachable'));
const silentSide = { sendVolume: silent, receiveVolume: silent, digestVolume: silent } as unknown as TransferringEngine;

describe('a copy of a volume to another machine', () => {
  it.each(['source', 'target'] as const)('must be over on both sides when the %s has failed', async (failing) => {
    const { engine, running } = slowSide();
    const sides = failing === 'source' ? ([silentSide, engine] as const) : ([engine, silentSide] as const);
    await expect(transferVolume(...sides, copy)).rejects.toThrow('unreachable');
    expect(running()).toBe(0);
  });
});
