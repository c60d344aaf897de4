import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What a registry says of one package; null: it has no such service. */
type Advice = Readonly<Record<string, readonly object[]>> | null;

const advisory = (severity: string, vulnerable_versions = '*') => ({
  id: 1,
  url: 'https://registry.example/advisories/1',
  title: 'a hole',
  severity,
  vulnerable_versions,
  cwe: [],
  cvss: { score: 0, vectorString: null },
});

describe('npm run audit', () => {
  let registry: Server;
  let advice: Advice = null;
  let cache: string;

  beforeEach(async () => {
    cache = await mkdtemp(join(tmpdir(), 'berth-npm-'));
  });
  afterEach(() => rm(cache, { recursive: true }));

  beforeAll(async () => {
    registry = createServer((request, response) => {
      request.resume();
      const isAudit = request.url?.includes('/security/advisories/') === true;
      if (advice && isAudit) response.end(JSON.stringify(advice));
      else response.writeHead(isAudit ? 405 : 404).end('{}');
    });
    await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    registry.closeAllConnections();
    await new Promise((resolve) => registry.close(resolve));
  });

  it.each<[string, Advice, number, RegExp]>([
    [
      'fail for high and critical ones',
      { dockerode: [advisory('high')], 'passport-http-bearer': [advisory('critical')] },
      1,
      /^✗ high: dockerode: a hole.*\n✗ critical: passport-http-bearer.*\n✗ .*critical: 2/,
    ],
    [
      'pass for a moderate one, and tell of it, for one of another version, and of a package for development',
      {
        dockerode: [advisory('moderate')],
        zod: [advisory('high', '<1.0.0')],
        typescript: [advisory('high')],
      },
      0,
      /^! moderate: dockerode.*\n✓ known vulnerabilities: 1, .*critical: 0/,
    ],
    ['pass, and say so, where the registry cannot be asked', null, 0, /^! the registry was not asked.*405/],
  ])('must %s', async (_what, given, exitCode, output) => {
    advice = given;
    const audited = await audit();
    expect(audited.output).toMatch(output);
    expect(audited.exitCode).toBe(exitCode);
  });

  function audit(): Promise<{ exitCode: number; output: string }> {
    const { port } = registry.address() as AddressInfo;
    const settings = { npm_config_registry: `http://127.0.0.1:${port}/`, npm_config_fetch_retries: '0' };
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        ['scripts/audit.mjs'],
        { env: { ...process.env, ...settings, npm_config_cache: cache } },
        (_error, stdout) => resolve({ exitCode: child.exitCode ?? -1, output: stdout }),
      );
    });
  }
});
