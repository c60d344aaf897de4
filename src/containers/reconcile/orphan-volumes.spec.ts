import pino from 'pino';
import type { ContainerEngine } from '../../docker';
import type { ContainerRepository } from '../container.repository';
import { OrphanVolumes } from './inventory';
import type { KnownEngine } from './known-engine';

it('a volume that belongs to no row must be reported once, and one of a deleted container never', async () => {
  const told: unknown[] = [];
  const logger = pino(
    { level: 'warn' },
    { write: (line: string) => told.push((JSON.parse(line) as { volume: string }).volume) },
  );
  const asked: string[][] = [];
  const idsWithData = (ids: string[]): Promise<Set<string>> => {
    asked.push(ids);
    return Promise.resolve(new Set(['deleted']));
  };
  const repository = { idsWithData } as unknown as ContainerRepository;
  const orphans = new OrphanVolumes(repository, {} as ContainerEngine, { changed: false } as KnownEngine, logger);
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
