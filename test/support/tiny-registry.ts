import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const digestOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A registry on this machine with one image, `berth/pulled:1`, that Docker pulls without TLS, as it does from loopback. */
export class TinyRegistry {
  /** How often each path was asked for. */
  readonly requests: string[] = [];
  /** Downloads wait for it. */
  gate: Promise<void> = Promise.resolve();
  private readonly blobs = new Map<string, Buffer>();
  private readonly manifest: Buffer;
  private readonly server = createServer((request, response) => {
    const path = request.url ?? '';
    this.requests.push(path);
    this.answer(path, response).catch(() => response.destroy());
  });

  constructor() {
    const file = randomBytes(4_000_000);
    const tar = Buffer.concat([tarHeader('data', file.length), file, Buffer.alloc(512 - (file.length % 512) + 1024)]);
    const layer = this.add(gzipSync(tar, { level: 0 }));
    const config = this.add(
      Buffer.from(
        JSON.stringify({
          architecture: 'amd64',
          os: 'linux',
          config: {},
          rootfs: { type: 'layers', diff_ids: [digestOf(tar)] },
        }),
      ),
    );
    const of = (digest: string, mediaType: string): object => ({
      mediaType,
      digest,
      size: this.blobs.get(digest)?.length,
    });
    this.manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: of(config, 'application/vnd.docker.container.image.v1+json'),
        layers: [of(layer, 'application/vnd.docker.image.rootfs.diff.tar.gzip')],
      }),
    );
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  reference(tag: string): string {
    return `127.0.0.1:${String((this.server.address() as AddressInfo).port)}/berth/pulled:${tag}`;
  }

  private add(blob: Buffer): string {
    const digest = digestOf(blob);
    this.blobs.set(digest, blob);
    return digest;
  }

  private async answer(path: string, response: ServerResponse): Promise<void> {
    const name = path.split('/').at(-1) ?? '';
    if (path === '/v2/') {
      response.end('{}');
    } else if (path.endsWith('/manifests/1') || name === digestOf(this.manifest)) {
      // Docker asks by HEAD first, and wants to know the length.
      const headers = { 'content-length': this.manifest.length, 'docker-content-digest': digestOf(this.manifest) };
      response.writeHead(200, { 'content-type': MANIFEST, ...headers });
      response.end(this.manifest);
    } else if (path.includes('/blobs/') && this.blobs.has(name)) {
      await this.download(this.blobs.get(name) ?? Buffer.alloc(0), response);
    } else {
      response.writeHead(404, { 'content-type': 'application/json' });
      response.end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
    }
  }

  /** In pieces, so that there is progress to tell of. */
  private async download(blob: Buffer, response: ServerResponse): Promise<void> {
    response.writeHead(200, { 'content-length': blob.length });
    for (let at = 0; at < blob.length; at += 400_000) {
      response.write(blob.subarray(at, at + 400_000));
      if (blob.length > 400_000) await delay(60);
      await this.gate;
    }
    response.end();
  }
}

function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write(
    '0000644\0' + '0000000\0' + '0000000\0' + size.toString(8).padStart(11, '0') + '\0' + '00000000000\0',
    100,
  );
  header.write('        0', 148);
  header.write('ustar\u000000', 257);
  const checksum = header.reduce((sum, byte) => sum + byte, 0);
  header.write(checksum.toString(8).padStart(6, '0') + '\0 ', 148);
  return header;
}
