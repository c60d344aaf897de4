import { Duplex } from 'node:stream';
import { z } from 'zod';
import type { ListeningPort } from '../port/engine-ports';
import { ANY_ANSWER, type ChannelStream } from './channel-stream';
import type { SandboxChannels } from './sandbox-channels';

/** The bounds of the supervisor's answer. */
const MOST = { ports: 256, addresses: 8 } as const;

const row = z.object({
  port: z.int().min(1).max(65_535),
  addresses: z.array(z.union([z.ipv4(), z.ipv6()])).max(MOST.addresses),
  program: z.string().max(4096).optional(),
});

/** Implements {@link EnginePorts.listening} by the container's supervisor. */
export async function listListeningPorts(channels: SandboxChannels, engineId: string): Promise<ListeningPort[]> {
  const stream = await channels.open(engineId, { op: 'ports' });
  const ports: ListeningPort[] = [];
  for await (const rows of stream.rows(row, MOST.ports)) {
    for (const { port, addresses } of rows) ports.push({ port, addresses: addresses.sort() });
  }
  return ports.sort((one, other) => one.port - other.port);
}

/** Connects to a port of the container's loopback interface. @throws EngineError `port_closed` */
export async function connectInside(channels: SandboxChannels, engineId: string, port: number): Promise<Duplex> {
  const stream = await channels.open(engineId, { op: 'connect', port }, { input: true });
  await stream.message(ANY_ANSWER);
  return new ChannelSocket(stream);
}

/** A connection to a port over the channel. */
class ChannelSocket extends Duplex {
  private flow: { pause(): void; resume(): void } | null = null;

  constructor(private readonly stream: ChannelStream) {
    super({ allowHalfOpen: true });
    // A stream that fails after the end of its data has no reader to tell.
    stream.done(ANY_ANSWER).catch((error: unknown) => {
      if (!this.destroyed && error instanceof Error) this.destroy(error);
    });
  }

  override _read(): void {
    if (this.flow) {
      this.flow.resume();
      return;
    }
    this.flow = this.stream.flowTo({
      take: ({ data }) => {
        if (!this.push(data)) this.flow?.pause();
      },
      over: () => this.push(null),
    });
  }

  override _write(data: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.stream.write(data, (error) => callback(error));
  }

  override _final(callback: () => void): void {
    this.stream.end();
    callback();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.stream.cancel();
    callback(error);
  }
}
