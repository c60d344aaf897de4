import { ConfigError } from '../../config';
import { chooseRuntime } from './runtime';

const WITHOUT = new Map<string, string[]>([
  ['io.containerd.runc.v2', []],
  ['runc', []],
]);
const WITH = new Map([...WITHOUT, ['runsc', ['--overlay2=none']]]);

describe('the runtime of sandboxes', () => {
  it.each(['runsc', 'auto'] as const)('must be gVisor, without a word, with %s where Docker has it', (wanted) => {
    expect(chooseRuntime(wanted, WITH)).toEqual({ runtime: 'runsc', warning: null });
  });

  it('must come with a warning where gVisor would lose what is written outside the volume', () => {
    const { runtime, warning } = chooseRuntime('runsc', new Map([['runsc', ['--network=host']]]));
    expect(runtime).toBe('runsc');
    expect(warning).toMatch(/--overlay2=none/);
  });

  it('must be refused, saying what to do, where gVisor is asked for and missing', () => {
    expect(() => chooseRuntime('runsc', WITHOUT)).toThrow(ConfigError);
    expect(() => chooseRuntime('runsc', WITHOUT)).toThrow(/install gVisor.*runsc install.*restart Docker/);
  });

  it('must fall back to runc with auto, and warn', () => {
    expect(chooseRuntime('auto', WITHOUT)).toEqual({
      runtime: 'runc',
      warning: expect.stringMatching(/gVisor is missing/),
    });
  });

  it('must be runc where that is chosen by name, and warn', () => {
    expect(chooseRuntime('runc', WITH)).toEqual({
      runtime: 'runc',
      warning: expect.stringMatching(/share the kernel/),
    });
  });

  it('must not take another runtime of a similar name for gVisor', () => {
    expect(() => chooseRuntime('runsc', new Map([['runsc-kvm', []]]))).toThrow(ConfigError);
  });
});
