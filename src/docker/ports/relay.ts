import { Duplex } from 'node:stream';
import { within } from '../../scheduling';
import { EngineError } from '../engine-error';
import { type ContainerProcess, type ExecOutput, flowOf, type OutputFlow } from '../port/container-process';
import type { EnginePrograms } from '../port/engine-programs';
import { SCRIPTS_NAME } from '../programs/ahead/session-line';
import { exitCodeOf } from '../programs/program-end';

/** How long a relay may take to connect after its start. A connection within a sandbox needs no network. */
const CONNECT_MS = 5_000;
/** How long a relay may take to exit after the end of its input, before its streams are closed. */
const EXIT_MS = 2_000;

/** What the script writes before the first byte of the connection. */
const CONNECTED = 0x2b; // "+"

/** The script's exit codes; the first is the number of ECONNREFUSED. */
const EXIT = { refused: 111, noTools: 127 } as const;

/**
 * Connects stdin and stdout to a port of the loopback interface, by the image's bash, socat or nc. Development servers
 * may listen on `::1` alone. The script exits with the connection, and at the end of stdin, which comes with the end of
 * Berth's process too. (Some versions of nc go on until the server closes the connection.) So the end of one direction
 * alone is not passed on.
 *
 * bash is replaced by the `cat` that reads the connection, so the script exits when the server has closed it. socat and
 * nc do not report whether they have connected; the kernel's tables show beforehand whether anything listens.
 */
export const RELAY = `
export BERTH_PORT="$1"
if command -v bash >/dev/null 2>&1; then
  exec bash --norc --noprofile -c '
    { exec 3<>"/dev/tcp/127.0.0.1/$BERTH_PORT"; } 2>/dev/null ||
      { exec 3<>"/dev/tcp/::1/$BERTH_PORT"; } 2>/dev/null || exit ${String(EXIT.refused)}
    printf +
    exec 4<&0 2>/dev/null
    { cat <&4 >&3; kill $$; } >/dev/null &
    exec 4<&- cat <&3 3<&-'
fi
hex=$(printf %04X "$1")
for berth_at in 127.0.0.1 ::1; do
  berth_table=/proc/net/tcp; [ $berth_at = 127.0.0.1 ] || berth_table=/proc/net/tcp6
  grep -qs "^ *[0-9]*: [0-9A-F]*:$hex [0-9A-F]*:0000 0A" $berth_table || continue
  if command -v socat >/dev/null 2>&1; then
    printf +
    [ $berth_at = 127.0.0.1 ] || berth_at="[$berth_at]"
    exec socat -t 0.1 - "TCP:$berth_at:$1"
  fi
  command -v nc >/dev/null 2>&1 || exit ${String(EXIT.noTools)}
  printf +
  exec nc $berth_at "$1"
done
exit ${String(EXIT.refused)}
`;

/**
 * Connects to a port of a container's loopback interface by a program in the container.
 *
 * @throws EngineError `port_closed`, `tools_missing`; as {@link EnginePrograms.start} does
 */
export async function openRelay(
  programs: Pick<EnginePrograms, 'reserve' | 'start'>,
  dockerId: string,
  port: number,
): Promise<Duplex> {
  const command = ['sh', '-c', RELAY, SCRIPTS_NAME, String(port)];
  const marker = await programs.reserve(dockerId, { command });
  const program = await programs.start(dockerId, { command, marker, stdin: true }).catch((error: unknown) => {
    if (!(error instanceof EngineError) || error.code !== 'command_not_started') throw error;
    throw new EngineError('tools_missing', 'the image has no shell', { cause: error });
  });
  const relay = new Relay(program);
  try {
    await within(relay.connected, { ms: CONNECT_MS, late });
    return relay;
  } catch (error) {
    relay.destroy();
    throw error;
  }
}

function late(): EngineError {
  return new EngineError('container_not_responding', 'the relay did not connect in time');
}

/** The connection of a relay, as a stream. */
class Relay extends Duplex {
  /** Rejects with the reason why there is no connection. */
  readonly connected: Promise<void>;
  private readonly flow: OutputFlow;
  private accept: () => void = () => undefined;
  private refuse: (error: unknown) => void = () => undefined;
  private hasBegun = false;

  constructor(private readonly program: ContainerProcess) {
    super();
    this.connected = new Promise((resolve, reject) => {
      this.accept = resolve;
      this.refuse = reject;
    });
    this.connected.catch(() => undefined);
    // The callback of each write reports its error.
    program.stdin?.on('error', () => undefined);
    this.flow = flowOf(program.output, { take: (output) => this.receive(output), over: () => this.finish() });
  }

  override _read(): void {
    this.flow.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.program.stdin?.write(chunk, encoding, done);
  }

  override _final(done: () => void): void {
    this.program.stdin?.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.program.stdin?.end();
    // Output that nobody reads would keep the relay, and Docker, from ending.
    this.flow.resume();
    setTimeout(() => this.program.close(), EXIT_MS).unref();
    done(error);
  }

  private receive({ stream, data }: ExecOutput): void {
    if (stream === 'stderr' || this.destroyed) return;
    let rest = data;
    if (!this.hasBegun) {
      // Anything else is a message of the shell.
      if (data[0] !== CONNECTED) return;
      this.hasBegun = true;
      this.accept();
      rest = data.subarray(1);
    }
    if (rest.length > 0 && !this.push(rest)) this.flow.pause();
  }

  private finish(): void {
    this.push(null);
    if (!this.hasBegun) void this.explain();
    this.program.close();
  }

  private async explain(): Promise<void> {
    try {
      const code = await exitCodeOf(this.program);
      if (code === EXIT.refused) throw new EngineError('port_closed', 'nothing listens on the port');
      if (code === EXIT.noTools) throw new EngineError('tools_missing', 'the image has neither bash, socat nor nc');
      throw new EngineError('docker_error', `the relay exited with ${String(code)} before it connected`);
    } catch (error) {
      this.refuse(error);
    }
  }
}
