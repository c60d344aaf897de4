import { ConfigError } from '../config';
import { chooseRuntime } from './runtime-probe';

const WITH = ['io.containerd.runc.v2', 'runc', 'runsc'];
const WITHOUT = ['io.containerd.runc.v2', 'runc'];

describe('the runtime of sandboxes', () => {
  it.each(['runsc', 'auto'] as const)('must be gVisor, without a word, with %s where Docker has it', (wanted) => {
    expect(chooseRuntime(wanted, WITH)).toEqual({ runtime: 'runsc', warning: null });
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
    expect(() => chooseRuntime('runsc', ['runc', 'runsc-kvm'])).toThrow(ConfigError);
  });
});
