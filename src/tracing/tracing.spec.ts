import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportSpans } from './export';
import { beginRequest, inSpan, noteCall } from './spans';

interface Sent {
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceId: string;
  readonly name: string;
  readonly status: { readonly code?: number; readonly message?: string };
}

interface Batch {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly Sent[] }[] }[];
}

describe('a trace', () => {
  let collector: Server;
  let endpoint: string;
  const sent: Sent[] = [];

  beforeAll(async () => {
    collector = createServer((request, answer) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        expect(request.url).toBe('/v1/traces');
        for (const { scopeSpans } of (JSON.parse(body) as Batch).resourceSpans) {
          for (const { spans } of scopeSpans) sent.push(...spans);
        }
        answer.end('{}');
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    endpoint = `http://127.0.0.1:${String((collector.address() as AddressInfo).port)}`;
  });

  beforeEach(() => sent.splice(0));

  afterAll(() => new Promise((resolve) => collector.close(resolve)));

  it('must lead from the request over operation and step to the call, and say what failed without its words', async () => {
    const stop = exportSpans(`${endpoint}/`, 'test');
    await new Promise<void>((resolve, reject) => {
      const request = beginRequest({}, () => {
        const failed = inSpan('operation start', {}, () =>
          inSpan('step start_container', {}, async () => {
            await Promise.resolve();
            noteCall('docker start container', { seconds: 0.5, outcome: 'docker_error' });
            throw new Error('secret');
          }),
        );
        failed.then(reject, () => {
          request.end();
          resolve();
        });
      });
    });
    await stop();
    const of = (name: string): Sent | undefined => sent.find((span) => span.name === name);
    const chain = ['HTTP', 'operation start', 'step start_container', 'docker start container'].map(of);
    expect(new Set(chain.map((span) => span?.traceId)).size).toBe(1);
    for (const [index, span] of chain.slice(1).entries()) expect(span?.parentSpanId).toBe(chain[index]?.spanId);
    expect(of('step start_container')?.status).toEqual({ code: 2, message: 'Error' });
    expect(JSON.stringify(sent)).not.toContain('secret');
  });

  it('must be none where nothing exports it, and change nothing of what it is about', async () => {
    await expect(inSpan('operation stop', {}, () => Promise.resolve(7))).resolves.toBe(7);
    await expect(inSpan('operation stop', {}, () => Promise.reject(new Error('own')))).rejects.toThrow('own');
    noteCall('docker ping', { seconds: 0, outcome: 'ok' });
    expect(sent).toEqual([]);
  });

  it('must keep no process from ending where its collector is away', async () => {
    const stop = exportSpans('http://127.0.0.1:9', 'test');
    await inSpan('operation stop', {}, () => Promise.resolve());
    await expect(stop()).resolves.toBeUndefined();
  });
});
