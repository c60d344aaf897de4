import { ConfigError } from '../config';
import type { Config } from '../config';
import type { EngineCapabilities } from './container-engine';

/** Which runtime sandboxes get, and what a person must know about the choice. */
export interface RuntimeChoice {
  readonly runtime: EngineCapabilities['runtime'];
  readonly warning: string | null;
}

const REGISTER =
  'install gVisor (https://gvisor.dev/docs/user_guide/install/), register it with ' +
  '"runsc install -- --overlay2=none" and restart Docker';

const LAYER_AT_RISK =
  'gVisor is registered without --overlay2=none: what sandboxes write outside their volume is lost at a stop, and one ' +
  'that was killed can only be made anew; add it to the runtimeArgs of runsc in daemon.json';

/**
 * @param wanted the setting `SANDBOX_RUNTIME`
 * @param registered the runtimes that the daemon knows, with their arguments
 * @throws ConfigError that says what to do
 */
export function chooseRuntime(
  wanted: Config['SANDBOX_RUNTIME'],
  registered: ReadonlyMap<string, readonly string[]>,
): RuntimeChoice {
  const gvisor = registered.get('runsc');
  if (wanted !== 'runc' && gvisor) {
    return { runtime: 'runsc', warning: gvisor.includes('--overlay2=none') ? null : LAYER_AT_RISK };
  }
  if (wanted === 'runsc') {
    throw new ConfigError(
      `SANDBOX_RUNTIME=runsc, but Docker does not know the runtime runsc (it knows ${[...registered.keys()].join(', ')}): ${REGISTER}`,
    );
  }
  const warning =
    wanted === 'runc'
      ? 'SANDBOX_RUNTIME=runc: sandboxes share the kernel of this machine; do not run code that you do not trust'
      : `gVisor is missing, sandboxes run on runc and share the kernel of this machine: ${REGISTER}`;
  return { runtime: 'runc', warning };
}
