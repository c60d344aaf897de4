import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { eventually } from '../../../test/support/eventually';
import type { ExecRequest } from '../port/container-process';
import { descendantsOf, MARKER } from './process-marker';

/** Runs programs on this machine. */
const programs = {
  run: (_dockerId: string, { command: [program = '', ...args], onOutput }: ExecRequest) => {
    onOutput?.({ stream: 'stdout', data: execFileSync(program, args) });
    return Promise.resolve({ exitCode: 0 });
  },
};

describe('the descendants of programs', () => {
  const started: ChildProcess[] = [];

  afterEach(() => {
    for (const { pid } of started.splice(0)) process.kill(-Number(pid), 'SIGKILL');
  });

  /** @returns the marker of a shell that does not end by itself */
  function shell(script: string): string {
    const marker = randomUUID();
    const env = { ...process.env, [MARKER]: marker };
    started.push(
      spawn('/bin/sh', ['-c', `${script}\nread -r _`], { env, detached: true, stdio: ['pipe', 'ignore', 'ignore'] }),
    );
    return marker;
  }

  it('are found by name, of each program, and none of a shell that does nothing', async () => {
    const idle = shell('');
    const busy = shell('sleep 1000 & (sleep 1001; :) &');
    const left = shell('env -i sleep 1002 &');
    const others = shell('(setsid sleep 1003 &)');
    await eventually(async () => {
      const found = await descendantsOf(programs, 'id', [idle, busy, left, others, randomUUID()]);
      expect(found.map((names) => [...names].sort())).toEqual([[], ['sh', 'sleep', 'sleep'], ['sleep'], ['sleep'], []]);
    });
  });

  it('do not include a process that has ended, and are at most 16 of each program', async () => {
    const zombie = shell('sh -c "sleep 0.01 & exec sleep 1000" &');
    const many = shell('for each in $(seq 20); do sleep 1000 & done');
    await eventually(async () => {
      const [ended = [], most = []] = await descendantsOf(programs, 'id', [zombie, many]);
      expect([ended, most.length]).toEqual([['sleep'], 16]);
    });
  });
});
