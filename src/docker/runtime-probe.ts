import { ConfigError } from '../config';
import type { Config } from '../config';
import type { EngineCapabilities } from './container-engine';

/** Which runtime sandboxes get, and what a person must know about the choice. */
export interface RuntimeChoice {
  readonly runtime: EngineCapabilities['runtime'];
  readonly warning: string | null;
}

// Without `--overlay2=none` what is written outside the volume is lost, and a killed container cannot be started again.
const REGISTER =
  'install gVisor (https://gvisor.dev/docs/user_guide/install/), register it with ' +
  '"runsc install -- --overlay2=none" and restart Docker';

/**
 * @param wanted the setting `SANDBOX_RUNTIME`
 * @param registered the runtimes that the daemon knows
 * @throws ConfigError that says what to do
 */
export function chooseRuntime(wanted: Config['SANDBOX_RUNTIME'], registered: readonly string[]): RuntimeChoice {
  if (wanted !== 'runc' && registered.includes('runsc')) return { runtime: 'runsc', warning: null };
  if (wanted === 'runsc') {
    throw new ConfigError(
      `SANDBOX_RUNTIME=runsc, but Docker does not know the runtime runsc (it knows ${registered.join(', ')}): ${REGISTER}`,
    );
  }
  const warning =
    wanted === 'runc'
      ? 'SANDBOX_RUNTIME=runc: sandboxes share the kernel of this machine; do not run code that you do not trust'
      : `gVisor is missing, sandboxes run on runc and share the kernel of this machine: ${REGISTER}`;
  return { runtime: 'runc', warning };
}
