import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClientCertificate, connectDocker } from '../../src/docker/connection/client';
import { clientCertificate, TestNodes } from '../support/docker/test-nodes';

describe("a node's Docker", () => {
  const [node] = new TestNodes().nodes;
  const folder = mkdtempSync(join(tmpdir(), 'berth-certificates-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Asks it for its name. */
  async function ask(tls: ClientCertificate, host = node.host): Promise<string> {
    const { calls, close } = connectDocker(host, { timeoutMs: 5_000, tls });
    try {
      return ((await calls.info()) as { Name: string }).Name;
    } finally {
      close();
    }
  }

  /** A certificate that another authority, itself, has signed. */
  function stranger(): ClientCertificate {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'key.pem'];
    execFileSync('openssl', ['req', '-x509', ...key, '-out', 'cert.pem', '-subj', '/CN=berth'], {
      cwd: folder,
      stdio: 'ignore',
    });
    const read = (name: string): Buffer => readFileSync(join(folder, name));
    return { ca: read('cert.pem'), cert: read('cert.pem'), key: read('key.pem') };
  }

  it('must answer who has the key that its authority has signed, and nobody else', async () => {
    const own = clientCertificate();
    expect(await ask(own)).toBe('node1');
    const other = stranger();
    await expect(ask({ ...own, cert: other.cert, key: other.key })).rejects.toThrow();
    const nobody = Buffer.alloc(0);
    await expect(ask({ ...own, cert: nobody, key: nobody })).rejects.toThrow();
  });

  it('must be believed by nobody where another authority signed its certificate, or for another address', async () => {
    const own = clientCertificate();
    await expect(ask({ ...own, ca: stranger().ca })).rejects.toThrow(/verify|self.signed|issuer/i);
    await expect(ask(own, node.host.replace(node.address, 'localhost'))).rejects.toThrow();
  });
});
