/**
 * The few calls of the Docker Engine API that a bare machine needs before there are any npm packages
 * (https://docs.docker.com/reference/api/engine/). Paths are unversioned: the daemon answers in its own version.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Problem } from './problem.mjs';

export class DockerError extends Problem {
  constructor(status, message, advice) {
    super(message, advice);
    this.status = status;
  }
}

/** @param {string} host as in DOCKER_HOST: unix:///path, tcp://host:port, http(s)://host:port */
function target(host) {
  if (host.startsWith('unix://')) return { module: http, options: { socketPath: host.slice('unix://'.length) } };
  const url = host.match(/^(tcp|https?):\/\//) ? new URL(host.replace(/^tcp:/, 'http:')) : undefined;
  if (!url)
    throw new Problem(`DOCKER_HOST=${host} is not understood.`, [
      'Use unix:///path/to/docker.sock or tcp://host:port.',
    ]);
  const tls = host.startsWith('https:') || Boolean(process.env.DOCKER_TLS_VERIFY);
  const options = { host: url.hostname, port: url.port || (tls ? 2376 : 2375) };
  if (!tls) return { module: http, options };
  const folder = process.env.DOCKER_CERT_PATH ?? join(homedir(), '.docker');
  const [ca, cert, key] = ['ca.pem', 'cert.pem', 'key.pem'].map((name) => readFileSync(join(folder, name)));
  return { module: https, options: { ...options, ca, cert, key } };
}

async function textOf(response) {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return text;
}

function messageIn(text) {
  try {
    return JSON.parse(text).message ?? text;
  } catch {
    return text;
  }
}

export class DockerApi {
  /** @param {string} host */
  constructor(host) {
    this.host = host;
    this.target = target(host);
  }

  /**
   * @param {string} method @param {string} path
   * @param {{ json?: object, tar?: NodeJS.ReadableStream, signal?: AbortSignal }} [options]
   * @returns {Promise<http.IncomingMessage>} with a status below 400
   * @throws DockerError with the daemon's own words; status 0 if it cannot be reached
   */
  async open(method, path, { json, tar, signal } = {}) {
    const type = tar ? 'application/x-tar' : 'application/json';
    const headers = json || tar ? { 'Content-Type': type } : {};
    const request = this.target.module.request({ ...this.target.options, method, path, headers, signal, agent: false });
    const answered = new Promise((resolve, reject) => request.once('response', resolve).once('error', reject));
    try {
      // The daemon may answer (with an error) before it has read everything: the answer counts, not the broken pipe.
      if (tar) pipeline(tar, request).catch(() => {});
      else request.end(json ? JSON.stringify(json) : undefined);
      const response = await answered;
      if (response.statusCode < 400) return response;
      throw new DockerError(response.statusCode, `Docker says: ${messageIn(await textOf(response)).trim()}`);
    } catch (error) {
      if (error instanceof DockerError) throw error;
      throw new DockerError(0, `Docker at ${this.host} cannot be reached (${error.code ?? error.message}).`);
    }
  }

  /** One call with a JSON answer. @returns {Promise<any>} */
  async call(method, path, options) {
    const text = await textOf(await this.open(method, path, options));
    if (!text) return undefined;
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }

  /**
   * A call that answers with a stream of JSON lines (pull, import), whose failure is one of the lines.
   * @param {(message: { status?: string, progress?: string }) => void} [onMessage]
   */
  async stream(method, path, { onMessage, ...options } = {}) {
    let rest = '';
    for await (const chunk of (await this.open(method, path, options)).setEncoding('utf8')) {
      const lines = (rest + chunk).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines.filter(Boolean)) {
        const message = JSON.parse(line);
        if (message.error) throw new DockerError(500, `Docker says: ${message.error}`);
        onMessage?.(message);
      }
    }
  }

  /** @returns {Promise<boolean>} whether a Docker answers there */
  async answers(timeoutMs = 3000) {
    try {
      await this.call('GET', '/_ping', { signal: AbortSignal.timeout(timeoutMs) });
      return true;
    } catch {
      return false;
    }
  }

  info() {
    return this.call('GET', '/info');
  }

  async hasImage(name) {
    return this.exists(`/images/${name}/json`);
  }

  /** @returns {Promise<boolean>} false only if Docker says 404 */
  async exists(path) {
    try {
      await this.call('GET', path);
      return true;
    } catch (error) {
      if (error.status === 404) return false;
      throw error;
    }
  }

  /** Deletes; a thing that is already gone is fine. */
  async remove(path) {
    try {
      await this.call('DELETE', path);
    } catch (error) {
      if (error.status !== 404) throw error;
    }
  }
}
