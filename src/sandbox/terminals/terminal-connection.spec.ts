import { EventEmitter } from 'node:events';
import type { TerminalExit, TerminalOutlet } from './attachment';
import { MAX_INPUT_BYTES, type TerminalCodec, TerminalConnection, type AdmittedClient } from './terminal-connection';
import type { TerminalSession } from './terminal-session';
import { SocketIoCodec } from './terminal.gateway';

const EXIT: TerminalExit = { code: 0, reason: 'exited' };

const attachment = { role: 'writer', acknowledge: jest.fn(() => true), noteWritten: jest.fn() };
const session = {
  id: 's',
  clients: 0,
  attach: jest.fn((outlet: TerminalOutlet) => ({ attachment, offset: 3, gap: true, outlet })),
  begin: jest.fn(),
  detach: jest.fn(),
  input: jest.fn(() => 'taken'),
  resize: jest.fn(),
  takeOver: jest.fn(),
  end: jest.fn(() => Promise.resolve()),
};
const codec = {
  attached: jest.fn(),
  output: jest.fn(),
  role: jest.fn(),
  exit: jest.fn(),
  close: jest.fn(),
} satisfies TerminalCodec;

let endToken: () => void;
const leave = jest.fn();
const unwatch = jest.fn();
const clientWith = (changes: Partial<AdmittedClient> = {}): AdmittedClient => ({
  session: session as unknown as TerminalSession,
  isNew: true,
  attach: { size: { columns: 80, rows: 24 } },
  watch: (onEnd) => {
    endToken = onEnd;
    return unwatch;
  },
  leave,
  ...changes,
});

beforeEach(() => jest.clearAllMocks());

describe('the connection of a client to a terminal', () => {
  it('must tell the client first that it is attached', () => {
    new TerminalConnection(clientWith(), codec).open();
    expect(codec.attached).toHaveBeenCalledWith({ session: 's', offset: 3, gap: true, role: 'writer' });
    expect(session.begin).toHaveBeenCalledWith(attachment);
  });

  it('must leave if the session refuses the client', () => {
    session.attach.mockImplementationOnce(() => {
      throw new Error('no');
    });
    expect(() => new TerminalConnection(clientWith(), codec)).toThrow('no');
    expect(leave).toHaveBeenCalledTimes(1);
  });

  it('must end when the token does, also if it has ended before', () => {
    const open = new TerminalConnection(clientWith(), codec);
    open.open();
    endToken();
    expect(codec.close).toHaveBeenCalledWith('token_ended');
    expect([leave, unwatch, session.detach].map((each) => each.mock.calls.length)).toEqual([1, 1, 1]);
    const watch = (onEnd: () => void): (() => void) => {
      onEnd();
      return () => undefined;
    };
    const late = new TerminalConnection(clientWith({ watch }), codec);
    expect(codec.close).toHaveBeenCalledTimes(1);
    late.open();
    expect(codec.close).toHaveBeenCalledTimes(2);
    expect(codec.attached).toHaveBeenCalledTimes(1);
  });

  it('must tell an exit that comes before the client is connected once it is', () => {
    const connection = new TerminalConnection(clientWith(), codec);
    connection.exit(EXIT);
    connection.role('watcher');
    expect([codec.exit, codec.role].map((each) => each.mock.calls.length)).toEqual([0, 0]);
    connection.open();
    expect(codec.exit).toHaveBeenCalledWith(EXIT);
    expect(codec.attached).not.toHaveBeenCalled();
  });

  it('must end a new session that its client was never told of, and no other', () => {
    new TerminalConnection(clientWith({ isNew: false }), codec).leave();
    const told = new TerminalConnection(clientWith(), codec);
    told.open();
    told.leave();
    expect(session.end).not.toHaveBeenCalled();
    new TerminalConnection(clientWith(), codec).leave();
    expect(session.end).toHaveBeenCalledWith('detached');
  });

  it('must refuse what is wrong, and ignore what comes after its end', () => {
    const connection = new TerminalConnection(clientWith(), codec);
    connection.open();
    expect(connection.input(Buffer.alloc(MAX_INPUT_BYTES + 1))).toBe('input_too_large');
    expect([connection.resize({ cols: 0, rows: 1 }), connection.acknowledge('1')]).toEqual(
      Array(2).fill('invalid_parameters'),
    );
    attachment.acknowledge.mockReturnValueOnce(false);
    expect(connection.acknowledge(1)).toBe('invalid_ack');
    session.input.mockReturnValueOnce('full');
    expect([connection.input(Buffer.from('a')), connection.input(Buffer.from('b'))]).toEqual(['input_full', null]);
    connection.leave();
    connection.leave();
    connection.input(Buffer.from('c'));
    connection.resize({ cols: 1, rows: 1 });
    expect(session.input).toHaveBeenCalledTimes(2);
    expect([session.resize, session.detach].map((each) => each.mock.calls.length)).toEqual([0, 1]);
  });
});

describe('answers over Socket.IO', () => {
  it('must be bounded for a client that does not read; output that waits beside them does not count', () => {
    const conn = Object.assign(new EventEmitter(), { writeBuffer: Array(500).fill({}), close: jest.fn() });
    const socket = Object.assign(new EventEmitter(), { conn, disconnect: jest.fn() });
    const served = new SocketIoCodec(socket as unknown as ConstructorParameters<typeof SocketIoCodec>[0]);
    const connection = new TerminalConnection(clientWith(), codec);
    served.take(connection);
    connection.open();
    const done = jest.fn();
    for (let each = 0; each < 200; each += 1) socket.emit('takeover', done);
    conn.emit('flush', []);
    for (let each = 0; each < 200; each += 1) socket.emit('takeover', done);
    expect([done.mock.calls.length, conn.close.mock.calls.length]).toEqual([400, 0]);
    socket.emit('takeover', done);
    expect([done.mock.calls.length, conn.close.mock.calls.length]).toEqual([400, 1]);
  });

  it('must leave nothing behind on a connection whose client leaves the terminal, as it may join again', () => {
    const conn = Object.assign(new EventEmitter(), { close: jest.fn() });
    const socket = Object.assign(new EventEmitter(), { conn, disconnect: jest.fn() });
    const served = new SocketIoCodec(socket as unknown as ConstructorParameters<typeof SocketIoCodec>[0]);
    served.take(new TerminalConnection(clientWith(), codec));
    expect(conn.listenerCount('flush')).toBe(1);
    socket.emit('disconnect');
    expect(conn.listenerCount('flush')).toBe(0);
  });
});
