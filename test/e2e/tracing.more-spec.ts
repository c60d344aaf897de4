import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { runTokenCommand } from '../../src/cli/token-command';
import { parseConfig } from '../../src/config';
import { ApiClient } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { RealDocker } from '../support/docker/real-docker';

jest.setTimeout(120_000);

interface Sent {
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
}

interface Batch {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly Sent[] }[] }[];
}

const INSTANCE = `test-tracing-${String(process.pid)}`;

describe('traces of a server process on real Docker', () => {
  const spans: Sent[] = [];
  let collector: Server;
  let folder: string;
  let berth: BerthProcess;
  let api: ApiClient;

  beforeAll(async () => {
    collector = createServer((request, answer) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        for (const { scopeSpans } of (JSON.parse(body) as Batch).resourceSpans) {
          for (const scope of scopeSpans) spans.push(...scope.spans);
        }
        answer.end('{}');
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    const endpoint = `http://127.0.0.1:${String((collector.address() as AddressInfo).port)}`;
    folder = await mkdtemp(join(tmpdir(), 'berth-tracing-'));
    const DATABASE_URL = `sqlite:${join(folder, 'berth.sqlite')}`;
    const { stdout } = await runTokenCommand(['--user', 'one', '--tier', 'pro'], parseConfig({ DATABASE_URL }));
    berth = new BerthProcess({ DATABASE_URL, INSTANCE_ID: INSTANCE, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint });
    await berth.start();
    api = new ApiClient(berth.url, stdout.trim());
  });

  afterAll(async () => {
    await berth.kill();
    await new RealDocker().removeInstance(INSTANCE);
    collector.close();
    await rm(folder, { recursive: true });
  });

  it('must lead from a request to Docker, and be out when the process has ended', async () => {
    const { db_id } = await api.running({ env: { PASSWORD: 'precious' } });
    expect((await api.stop(db_id)).status).toBe(200);
    expect(await berth.stop()).toBe(0);
    const [call] = spans.filter(({ name }) => name === 'docker stop container');
    const path: string[] = [];
    const parentOf = ({ parentSpanId }: Sent): Sent | undefined => spans.find(({ spanId }) => spanId === parentSpanId);
    for (let span = call; span; span = parentOf(span)) path.push(span.name);
    expect(path).toEqual([
      'docker stop container',
      'step stop_container',
      'operation stop',
      'POST /api/containers/:id/stop',
    ]);
    expect(spans.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['operation create', 'step create_container']),
    );
    const all = JSON.stringify(spans);
    expect(all).not.toContain('precious');
    expect(all).not.toContain(api.token);
  });
});
