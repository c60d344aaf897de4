import { mergedSettings } from './settings';

const START = { command: ['server'], restart: 'never' as const, ready: { port: 80, within_seconds: 5 } };
const current = { env: () => ({ A: '1' }), labels: { a: '1' }, start: START };

describe('the settings that a patch merges by key', () => {
  it('must be those of the patch alone, and the others absent', () => {
    expect(mergedSettings(current, { name: 'n' })).toEqual({});
    expect(mergedSettings(current, { env: { B: '2' } })).toEqual({ env: { A: '1', B: '2' } });
    expect(mergedSettings(current, { start: { ready: { port: 81 } } })).toEqual({
      start: { ...START, ready: { port: 81, within_seconds: 5 } },
    });
  });

  it('must be removed by null, the variables even where they cannot be decrypted', () => {
    const env = (): never => {
      throw new Error('the key is lost');
    };
    const none = { env: null, labels: null, start: null };
    expect(mergedSettings({ ...current, env }, none)).toEqual({ env: {}, labels: {}, start: null });
  });

  it('must be valid together, and every fault be named', () => {
    const many = Object.fromEntries(Array.from({ length: 64 }, (_each, at) => [`k${String(at)}`, 'x']));
    const patch = { env: many, labels: many, start: { ready: { command: ['true'] } } };
    const details = ['env', 'labels', 'start'].map((field): unknown => expect.objectContaining({ field }));
    expect(() => mergedSettings(current, patch)).toThrow(
      expect.objectContaining({ options: { fields: { details } } }) as Error,
    );
  });
});
