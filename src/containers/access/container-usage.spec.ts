import { EngineError } from '../../engine';
import { DomainError } from '../../errors';
import { ContainerEntry, type RunningContainer } from './container-usage';

const container = (engineId: string): RunningContainer => ({
  id: 'container',
  name: 'name',
  userId: 'user',
  engineId,
  diskMb: 1,
  environment: () => ({}),
});
const leave = (): Promise<void> => Promise.resolve();
const paused = new EngineError('container_paused', 'paused');

describe('an entry into a container', () => {
  it('must run work again, in the container as it is then, once a snapshot no longer suspends it', async () => {
    const again = jest.fn(() => Promise.resolve(container('second')));
    const entry = new ContainerEntry(container('first'), leave, again);
    const work = jest.fn(({ engineId }: RunningContainer) =>
      engineId === 'first' ? Promise.reject(paused) : Promise.resolve(engineId),
    );
    await expect(entry.run(work)).resolves.toBe('second');
    expect(entry.container.engineId).toBe('second');
    expect(again).toHaveBeenCalledWith(expect.objectContaining({ code: 'container_paused' }));
  });

  it('must fail as the container does that cannot be used again, or is not to be resumed', async () => {
    const refused = new DomainError('guest_session_expired');
    const work = (): Promise<void> => Promise.reject(paused);
    const again = (): Promise<RunningContainer> => Promise.reject(refused);
    await expect(new ContainerEntry(container('a'), leave, again).run(work)).rejects.toBe(refused);
    const fault = { kind: 'container_not_running', code: 'container_paused' };
    await expect(new ContainerEntry(container('a'), leave, undefined).run(work)).rejects.toMatchObject(fault);
  });

  it.each([
    ['a container that has stopped', new EngineError('container_not_running', 'stopped'), 'container_not_running'],
    ['another fault', new DomainError('too_many_commands'), 'too_many_commands'],
  ])('must not run work again because of %s', async (_what, error, kind) => {
    const work = jest.fn(() => Promise.reject(error));
    const entry = new ContainerEntry(container('a'), leave, () => Promise.resolve(container('a')));
    await expect(entry.run(work)).rejects.toMatchObject({ kind });
    expect(work).toHaveBeenCalledTimes(1);
  });
});
