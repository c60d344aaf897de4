import pino from 'pino';
import type { AuditLog } from '../../audit';
import type { ContainerEngine } from '../../engine';
import { DomainError } from '../../errors';
import { Clock } from '../../scheduling';
import type { ContainerRepository } from '../rows/container.repository';
import type { OperationRunner } from '../operations/operation-runner';
import { Evacuation } from './evacuation';
import type { NodeRepository } from '../nodes/node.repository';

const RETRY_MS = 30_000;

afterEach(() => void jest.restoreAllMocks());

it('what could not be moved must be tried again after half a minute, and then not be kept in mind', async () => {
  let now = 0;
  jest.spyOn(performance, 'now').mockImplementation(() => now);
  const tried: string[] = [];
  let idle = ['a', 'b'];
  const nodes = {
    emptied: () => Promise.resolve([{ id: 'node', availability: 'drain', emptiedSince: new Date(0) }]),
    idleOn: () => Promise.resolve(idle),
    noteNotMoved: () => Promise.resolve(),
    emptying: { take: () => Promise.resolve(true), isHeld: () => Promise.resolve(true) },
  };
  const repository = { findById: (id: string) => Promise.resolve({ id, nodeId: 'node', operation: null }) };
  const operations = {
    run: ({ id }: { id: string }) => {
      tried.push(id);
      return Promise.reject(new DomainError('no_capacity'));
    },
  };
  const evacuation = new Evacuation(
    { nodes: { answers: () => true, list: () => [] } } as unknown as ContainerEngine,
    nodes as unknown as NodeRepository,
    repository as unknown as ContainerRepository,
    operations as unknown as OperationRunner,
    { recordSystem: () => Promise.resolve() } as unknown as AuditLog,
    new Clock(),
    pino({ level: 'silent' }),
  );
  const waiting = (): string[] => [...(evacuation as unknown as { nextTry: Map<string, number> }).nextTry.keys()];
  await evacuation.look();
  await evacuation.look();
  expect(tried.toSorted()).toEqual(['a', 'b']);
  expect(waiting().toSorted()).toEqual(['a', 'b']);
  // One is deleted, or moved by another process.
  idle = ['a'];
  now += RETRY_MS;
  await evacuation.look();
  expect(tried.slice(2)).toEqual(['a']);
  expect(waiting()).toEqual(['a']);
});
