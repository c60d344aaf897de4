import { getEventListeners } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { StartCommandRun } from '../../containers';
import { type ContainerEngine, EngineError } from '../../docker';
import type { HeldProgramEntity } from '../program-registry';
import type { BackgroundProcesses } from '../processes/background-processes';
import { StartRun } from './start-run';

it('any number of runs must wait for Docker to end them, and Node.js not take that for a leak', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on('warning', note);
  const closing = new AbortController();
  const silent = { end: () => Promise.reject(new EngineError('docker_unavailable', 'it is gone')) };
  const runs = Array.from({ length: 20 }, (_none, index) => {
    const entry = { id: String(index), dockerId: 'container' } as HeldProgramEntity;
    const engine = { programs: silent } as unknown as ContainerEngine;
    return new StartRun(engine, {} as BackgroundProcesses, {} as StartCommandRun, entry, closing.signal).lost();
  });
  while (getEventListeners(closing.signal, 'abort').length < runs.length) await nextTurn();
  // Warnings are emitted in the next turn.
  await nextTurn();
  closing.abort();
  expect(new Set(await Promise.all(runs))).toEqual(new Set([null]));
  process.off('warning', note);
  expect(warnings).toEqual([]);
});
