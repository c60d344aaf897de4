import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { EventStream, MAX_WAITING_WRITES } from './server-sent-events';

/** An HTTP response whose kernel takes what is written when the test says so. */
class SlowResponse extends EventEmitter {
  headersSent = false;
  writableEnded = false;
  readonly written: string[] = [];
  /** How often somebody has looked at the connection, or ended it. */
  touched = 0;
  private isGone = false;
  private readonly untaken: (() => void)[] = [];

  get destroyed(): boolean {
    this.touched += 1;
    return this.isGone;
  }

  setHeader(): void {
    this.headersSent = true;
  }

  writeHead(): void {
    this.headersSent = true;
  }

  write(text: string, taken: () => void): void {
    this.written.push(text);
    this.untaken.push(taken);
  }

  end(): void {
    this.writableEnded = true;
  }

  destroy(): void {
    this.touched += 1;
    this.isGone = true;
    this.emit('close');
  }

  takeAll(): void {
    for (const taken of this.untaken.splice(0)) taken();
  }
}

const event = (seq: number) => {
  const type = 'container_progress';
  return { type, id: seq, payload: { type, seq } };
};

describe('an event stream', () => {
  let response: SlowResponse;
  let stream: EventStream;

  beforeEach(() => {
    jest.useFakeTimers();
    response = new SlowResponse();
    stream = new EventStream(response as unknown as ServerResponse);
  });

  afterEach(() => {
    // What is over does nothing any more.
    response.takeAll();
    const { touched } = response;
    jest.advanceTimersByTime(60_000);
    expect(response.touched).toBe(touched);
    jest.useRealTimers();
  });

  it('must say where to come back, and an event in a block of its own', () => {
    stream.open({ headers: {}, after: 7 });
    stream.send(event(8));
    expect(response.written).toEqual([
      'retry: 2000\nid: 7\n\n',
      'id: 8\nevent: container_progress\ndata: {"type":"container_progress","seq":8}\n\n',
    ]);
    stream.cut();
  });

  it('must send comments while there is nothing to send, and none on top of what waits', () => {
    stream.open({ headers: {}, after: 0 });
    jest.advanceTimersByTime(15_000);
    expect(response.written).toHaveLength(1);
    response.takeAll();
    jest.advanceTimersByTime(45_000);
    expect(response.written.slice(1)).toEqual([':\n\n']);
    response.takeAll();
    jest.advanceTimersByTime(15_000);
    expect(response.written).toHaveLength(3);
    stream.cut();
  });

  it('must be cut when too much waits, and send nothing any more', () => {
    stream.open({ headers: {}, after: 0 });
    response.takeAll();
    for (let seq = 1; seq <= MAX_WAITING_WRITES; seq += 1) stream.send(event(seq));
    expect(response.destroyed).toBe(false);
    stream.send(event(MAX_WAITING_WRITES + 1));
    stream.send(event(MAX_WAITING_WRITES + 2));
    expect([response.destroyed, response.written.length]).toEqual([true, MAX_WAITING_WRITES + 1]);
  });

  it('must be ready for more once all is taken, or the connection is gone', async () => {
    stream.open({ headers: {}, after: 0 });
    let ready = 0;
    const first = stream.ready().then(() => (ready += 1));
    await Promise.resolve();
    expect(ready).toBe(0);
    response.takeAll();
    await first;
    stream.send(event(1));
    const second = stream.ready();
    stream.cut();
    await second;
    await stream.ready();
  });

  it('must be cut a while after its end if the client takes nothing, and not begin with its end', () => {
    stream.end();
    expect(response.writableEnded).toBe(false);
    stream.open({ headers: {}, after: 0 });
    stream.end();
    stream.send(event(1));
    expect([response.writableEnded, response.destroyed, response.written.length]).toEqual([true, false, 1]);
    jest.advanceTimersByTime(1_000);
    expect(response.destroyed).toBe(true);
  });
});
