import pino from 'pino';
import type { ContainerEngine } from '../../engine';
import type { ContainerRepository } from '../rows/container.repository';
import { OrphanVolumes } from './inventory';
import type { KnownEngine } from '../nodes/known-engine';

/** @param deleted the container whose data is kept */
function orphanVolumes(deleted: string): { orphans: OrphanVolumes; told: unknown[]; asked: string[][] } {
  const told: unknown[] = [];
  const logger = pino(
    { level: 'warn' },
    { write: (line: string) => told.push((JSON.parse(line) as { volume: string }).volume) },
  );
  const asked: string[][] = [];
  const idsWithData = (ids: string[]): Promise<Set<string>> => {
    asked.push(ids);
    return Promise.resolve(new Set([deleted]));
  };
  const repository = { idsWithData } as unknown as ContainerRepository;
  const orphans = new OrphanVolumes(repository, {} as ContainerEngine, { changed: false } as KnownEngine, logger);
  return { orphans, told, asked };
}

it('a volume that belongs to no row must be reported once, and one of a deleted container never', async () => {
  const { orphans, told, asked } = orphanVolumes('deleted');
  const volumes = [
    { name: 'kept', containerId: 'deleted' },
    { name: 'lost', containerId: 'nobody' },
    { name: 'unreadable', containerId: null },
  ].map((volume) => ({ ...volume, labelled: true }));
  await orphans.note(volumes);
  await orphans.note(volumes);
  expect(told).toEqual(['lost', 'unreadable']);
  expect(asked).toEqual([['deleted', 'nobody'], []]);
});

it('volumes that are gone must not be kept in mind', async () => {
  const { orphans, told } = orphanVolumes('deleted');
  const volumes = Array.from({ length: 3 }, (_none, index) => ({
    name: String(index),
    containerId: null,
    labelled: true,
  }));
  for (const volume of volumes) await orphans.note([volume]);
  expect((orphans as unknown as { seen: ReadonlySet<string> }).seen).toEqual(new Set(['2']));
  // It was removed, and there is one of its name again.
  await orphans.note(volumes.slice(0, 1));
  expect(told).toEqual(['0', '1', '2', '0']);
});
