import { connect, type Socket } from 'node:net';
import { eventually } from '../eventually';

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A bare connection: written bytes, and the responses. */
export class RawConnection {
  private static readonly open = new Set<RawConnection>();

  private received = Buffer.alloc(0);
  readonly socket: Socket;
  closed = false;

  /** @param from the client's own address */
  constructor(url: string, from?: string) {
    const { hostname, port } = new URL(url);
    this.socket = connect({ host: hostname, port: Number(port), ...(from !== undefined && { localAddress: from }) });
    this.socket.on('data', (chunk: Buffer) => (this.received = Buffer.concat([this.received, chunk])));
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.closed = true));
    RawConnection.open.add(this);
  }

  static closeAll(): void {
    for (const { socket } of RawConnection.open) socket.destroy();
    RawConnection.open.clear();
  }

  /** What has come behind the responses of {@link next}. */
  get rest(): string {
    return this.received.toString();
  }

  /** Its own port; undefined until it is connected. */
  get port(): number | undefined {
    return this.socket.localPort;
  }

  /** Stops reading from the connection, until its socket resumes. */
  stopReading(): this {
    this.socket.pause();
    return this;
  }

  write(...parts: readonly string[]): this {
    this.socket.write(Buffer.from(parts.join(''), 'latin1'));
    return this;
  }

  /** The next response, framed by its length. */
  async next(): Promise<RawAnswer> {
    let end = -1;
    let head = '';
    await eventually(() => {
      end = this.received.indexOf('\r\n\r\n');
      head = this.received.subarray(0, end).toString('latin1');
      expect(end).toBeGreaterThan(0);
      expect(this.received.length).toBeGreaterThanOrEqual(end + 4 + Number(fieldsOf(head)['content-length'] ?? 0));
    });
    const headers = fieldsOf(head);
    const length = Number(headers['content-length'] ?? 0);
    const body = this.received.subarray(end + 4, end + 4 + length).toString();
    this.received = this.received.subarray(end + 4 + length);
    return { status: Number(head.split(' ')[1]), headers, body };
  }
}

/** The bytes of a request. @param line such as `GET /api/me` @param headers each with its line end */
export function requestText(line: string, headers = '', body = ''): string {
  const length = `Content-Type: application/json\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\n`;
  return `${line} HTTP/1.1\r\nHost: localhost\r\n${headers}${body === '' ? '' : length}\r\n${body}`;
}

function fieldsOf(head: string): Record<string, string> {
  const lines = head.split('\r\n').slice(1);
  return Object.fromEntries(
    lines.map((line) => [line.split(':', 1)[0]?.toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  ) as Record<string, string>;
}
