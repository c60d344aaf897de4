import type { AgentRow } from './agent.entity';
import { connected, deleted, disconnected, endReason } from './presence';

const row: AgentRow = {
  id: 'a',
  userId: 'u',
  name: 'workstation',
  description: null,
  os: 'plan9',
  arch: null,
  version: null,
  tags: [],
  tokenId: 't',
  epoch: 4,
  online: false,
  connectedAt: null,
  seenAt: null,
  stats: null,
  createdAt: new Date(0),
  deletedAt: null,
};
const online: AgentRow = { ...row, online: true };
const now = new Date(1_000);

describe('the presence of an agent', () => {
  it('must begin with an event only if it was offline', () => {
    const hello = { os: 'linux' };
    const patch = { os: 'linux', online: true, connectedAt: now, seenAt: now };
    const data = expect.objectContaining({ id: 'agent:a', status: 'online', os: 'linux' });
    expect(connected(row, { hello, now })).toEqual({ patch, event: { type: 'agent_connected', data } });
    expect(connected(online, { hello, now })).toEqual({ patch, event: null });
  });

  it('must end with an event, and only if it was online', () => {
    const data = expect.objectContaining({ id: 'agent:a', status: 'offline', reason: 'stopped' });
    const ended = { patch: { online: false }, event: { type: 'agent_disconnected', data } };
    expect(disconnected(online, 'stopped')).toEqual(ended);
    expect(disconnected(row, 'stopped')).toBeNull();
  });

  it('must end when the agent is deleted, which is emitted only if it was online', () => {
    const patch = { online: false, deletedAt: now };
    const data = expect.objectContaining({ status: 'offline', reason: 'deleted' });
    expect(deleted(online, now)).toEqual({ patch, event: { type: 'agent_disconnected', data } });
    expect(deleted(row, now)).toEqual({ patch, event: null });
  });
});

describe('a connection', () => {
  it.each([
    ['go_on', 'it is the agent’s own', online, 4],
    ['come_back', 'it was stopped or found silent', row, 3],
    ['replaced', 'another has taken its place', online, 3],
    ['deleted', 'the agent is gone', null, 4],
  ])('must be told to %s where %s', (said, _why, present, epoch) => {
    expect(endReason(present, epoch)).toBe(said);
  });
});
