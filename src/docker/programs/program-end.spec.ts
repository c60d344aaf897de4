import { EngineError } from '../engine-error';
import type { ContainerProcess } from '../port/container-process';
import { endOf, exitCodeOf } from './program-end';

const stopped = new EngineError('container_not_running', 'gone');
const unavailable = new EngineError('docker_unavailable', 'no answer');

/** A program whose exit is asked for repeatedly; the last answer stays. */
function program(...answers: (number | EngineError)[]): ContainerProcess {
  const exit = (): Promise<{ exitCode: number }> => {
    const answer = (answers.length > 1 ? answers.shift() : answers[0]) ?? 0;
    return typeof answer === 'number' ? Promise.resolve({ exitCode: answer }) : Promise.reject(answer);
  };
  return { exit } as ContainerProcess;
}

describe('the end of a program', () => {
  it.each([
    ['its exit code', [7], { kind: 'exited', code: 7 }],
    ['an exit code that no signal has', [128, stopped], { kind: 'exited', code: 128 }],
    ['a signal that comes with no end of a container', [130, stopped], { kind: 'exited', code: 130 }],
    ['a signal, if its container runs on', [137], { kind: 'exited', code: 137 }],
    ['the end of its container', [stopped], { kind: 'container_ended', cause: stopped }],
    ['a signal, and then the end of its container', [143, 143, stopped], { kind: 'container_ended', cause: stopped }],
    ['a broken connection', [unavailable], { kind: 'lost', cause: unavailable }],
  ])('must be known by %s', async (_by, answers, end) => {
    expect(await endOf(program(...answers))).toEqual(end);
  });

  it('must be an error for a caller that needs the exit code', async () => {
    expect(await exitCodeOf(program(3))).toBe(3);
    await expect(exitCodeOf(program(stopped))).rejects.toBe(stopped);
  });
});
