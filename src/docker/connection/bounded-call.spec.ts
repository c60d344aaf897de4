import { boundedCall } from './client';

describe('a bounded call', () => {
  it('must give what the call gives', async () => {
    await expect(boundedCall(1000, () => Promise.resolve('answer'))).resolves.toBe('answer');
  });

  it('must throw what the call throws', async () => {
    await expect(boundedCall(1000, () => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
  });

  it('must end when the time is over, also where the call does not heed the signal', async () => {
    let aborted = false;
    const deaf = boundedCall(10, (signal) => {
      signal.addEventListener('abort', () => (aborted = true));
      return new Promise(() => undefined);
    });
    await expect(deaf).rejects.toMatchObject({ code: 'docker_unavailable' });
    expect(aborted).toBe(true);
  });

  it('must say that the time was over, not that the call was aborted', async () => {
    const heedful = boundedCall(
      10,
      (signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('aborted')));
        }),
    );
    await expect(heedful).rejects.toMatchObject({ code: 'docker_unavailable' });
  });
});
