import { type Config, ConfigError } from '../../config';
import { type EngineCapabilities, EngineError } from '../../engine';

/** The runtimes that the daemon knows, each with its arguments. */
type Runtimes = ReadonlyMap<string, readonly string[]>;

/** The runtime of the sandboxes, and a warning for operators about it. */
interface RuntimeChoice {
  readonly runtime: EngineCapabilities['runtime'];
  readonly warning: string | null;
}

const REGISTER =
  'install gVisor (https://gvisor.dev/docs/user_guide/install/), register it with ' +
  '"runsc install -- --overlay2=none" and restart Docker';

const LAYER_AT_RISK =
  'gVisor is registered without --overlay2=none: what sandboxes write outside their volume is lost at a stop, and one ' +
  'that was killed can only be recreated; add it to the runtimeArgs of runsc in daemon.json';

/**
 * @param wanted the setting `SANDBOX_RUNTIME`
 * @param registered the runtimes that the daemon knows
 * @throws ConfigError with instructions
 */
export function chooseRuntime(wanted: Config['SANDBOX_RUNTIME'], registered: Runtimes): RuntimeChoice {
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

/** Whether gVisor uses its own network stack, which ignores interfaces that are added to a running container. */
export function hasOwnNetworkStack(runtimes: Runtimes): boolean {
  return !(runtimes.get('runsc') ?? []).some((argument) => /^--?network=host$/.test(argument));
}

/** @param info Docker's description of itself. @throws EngineError `docker_unavailable` if it cannot be read */
export function runtimesOf(info: unknown): Runtimes {
  const runtimes = (info as { Runtimes?: unknown } | null)?.Runtimes;
  if (typeof runtimes !== 'object' || runtimes === null) {
    throw new EngineError('docker_unavailable', "Docker's description of itself cannot be read");
  }
  const entries = Object.entries(runtimes) as [string, { runtimeArgs?: string[] } | null][];
  return new Map(entries.map(([name, runtime]) => [name, runtime?.runtimeArgs ?? []]));
}
