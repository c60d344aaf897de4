import type Docker from 'dockerode';
import { PassThrough } from 'node:stream';
import { runExec } from './exec';

const REQUEST = { command: ['sleep', '300'], timeoutMs: 60_000, maxOutputBytes: 1_000 };

/** A container whose command never ends by its stream, as under Docker 20.10 with gVisor of 2022. */
function containerThatIs(states: readonly { Running: boolean; StartedAt: string }[]): Docker.Container {
  const left = [...states];
  const command = {
    start: () => Promise.resolve(new PassThrough()),
    inspect: () => Promise.resolve({ Running: true, ExitCode: null, Pid: 7 }),
  };
  const container = {
    exec: () => Promise.resolve(command),
    inspect: () => Promise.resolve({ State: left.length > 1 ? left.shift() : left[0] }),
  };
  return container as unknown as Docker.Container;
}

const run = (states: readonly { Running: boolean; StartedAt: string }[]): Promise<unknown> =>
  runExec(containerThatIs(states), REQUEST, {
    call: (work) => work(AbortSignal.timeout(60_000)),
    lookAfterMs: 1,
  });

describe('a command whose stream stays open', () => {
  const running = { Running: true, StartedAt: '2026-01-01T00:00:00Z' };

  it.each([
    ['stopped', { ...running, Running: false }],
    ['been started again', { ...running, StartedAt: '2026-01-01T00:00:01Z' }],
  ])('must end as one whose container does not run once that has %s', async (_how, ended) => {
    await expect(run([running, ended])).rejects.toMatchObject({ code: 'container_not_running' });
  });
});
