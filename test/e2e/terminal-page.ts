import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { blocksOf } from '../support/clients/document-blocks';

/** The variables that docs/inside.md leaves to the page. */
interface Settings {
  /** The server's address. */
  readonly berth: string;
  readonly token: string;
  readonly container: string;
}

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>A terminal</title>
<link rel="stylesheet" href="/xterm.css">
<div id="terminal"></div>
<script src="/xterm.js"></script>
<script src="/socket.io.js"></script>
<script src="/settings.js"></script>
<script src="/client.js"></script>
`;

const JAVASCRIPT = 'text/javascript; charset=utf-8';
const FILES: Readonly<Record<string, [type: string, read: (settings: Settings) => string]>> = {
  '/': ['text/html; charset=utf-8', () => PAGE],
  '/xterm.css': ['text/css; charset=utf-8', () => fileOf('@xterm/xterm/css/xterm.css')],
  '/xterm.js': [JAVASCRIPT, () => fileOf('@xterm/xterm/lib/xterm.js')],
  '/socket.io.js': [JAVASCRIPT, () => fileOf('socket.io-client/dist/socket.io.min.js')],
  '/settings.js': [JAVASCRIPT, settingsScript],
  '/client.js': [JAVASCRIPT, documentedClient],
};

/**
 * A web page of another origin with a terminal. Its script is the client of docs/inside.md, unchanged, under the
 * Content-Security-Policy of that document.
 */
export class TerminalPage {
  private settings: Settings | undefined;

  private constructor(
    private readonly server: Server,
    readonly origin: string,
  ) {}

  static async serve(): Promise<TerminalPage> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const page = new TerminalPage(server, `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`);
    page.answer();
    return page;
  }

  /** To be called before the page is opened. */
  leadTo(settings: Settings): void {
    this.settings = settings;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** With `?strict`, the policy lacks the exception for styles that xterm.js needs. */
  private answer(): void {
    this.server.on('request', (request, response) => {
      const { pathname, search } = new URL(request.url ?? '', this.origin);
      const { settings } = this;
      const [type, read] = FILES[pathname] ?? [];
      if (!type || !read || !settings) {
        response.writeHead(404).end();
        return;
      }
      const styles = search === '?strict' ? '' : " 'unsafe-inline'";
      const connections = `${settings.berth} ${settings.berth.replace(/^http/, 'ws')}`;
      response.setHeader(
        'Content-Security-Policy',
        `default-src 'none'; script-src 'self'; style-src 'self'${styles}; connect-src ${connections}`,
      );
      response.setHeader('Content-Type', type);
      response.end(read(settings));
    });
  }
}

function fileOf(path: string): string {
  return readFileSync(`node_modules/${path}`, 'utf8');
}

/** The documented client is written for a page of Berth's own origin. */
function settingsScript({ berth, token, container }: Settings): string {
  return `
    const token = ${JSON.stringify(token)};
    const container = ${JSON.stringify(container)};
    const connect = io;
    io = (path, options) => connect(${JSON.stringify(berth)} + path, options);
  `;
}

function documentedClient(): string {
  const [client, ...others] = blocksOf('docs/inside.md').filter(({ language }) => language === 'js');
  if (!client || others.length > 0) throw new Error('docs/inside.md has one client');
  return client.text;
}
