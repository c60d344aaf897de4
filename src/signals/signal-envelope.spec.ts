import { parseSignal } from './redis-signals';

describe('a signal from another process', () => {
  const origin = 'process-1';

  it.each([
    ['user_events', { userId: 'u', seq: 3 }],
    ['token_revoked', { tokenId: 't' }],
    ['container_released', { containerId: 'c' }],
    ['operation_cancelled', { containerId: 'c' }],
    ['webhook_changed', { webhookId: 'w' }],
    ['agent_epoch', { agentId: 'a', epoch: 2 }],
  ])('must be read: %s', (name, payload) => {
    expect(parseSignal(JSON.stringify({ origin, name, payload }))).toEqual({ origin, name, payload });
  });

  it.each([
    ['no JSON', 'junk'],
    ['nothing', ''],
    ['null', 'null'],
    ['a list', '[]'],
    ['an unknown name', JSON.stringify({ origin, name: 'reboot', payload: {} })],
    ['a name of every object', JSON.stringify({ origin, name: 'constructor', payload: {} })],
    ['no origin', JSON.stringify({ name: 'token_revoked', payload: { tokenId: 't' } })],
    ['no payload', JSON.stringify({ origin, name: 'token_revoked' })],
    ['a payload of another signal', JSON.stringify({ origin, name: 'token_revoked', payload: { containerId: 'c' } })],
    ['a seq that is no number', JSON.stringify({ origin, name: 'user_events', payload: { userId: 'u', seq: '3' } })],
    ['a seq below 0', JSON.stringify({ origin, name: 'user_events', payload: { userId: 'u', seq: -3 } })],
    ['an endless id', JSON.stringify({ origin, name: 'token_revoked', payload: { tokenId: 'x'.repeat(65) } })],
    ['too long', JSON.stringify({ origin, name: 'token_revoked', payload: { tokenId: 't' }, more: 'x'.repeat(2_000) })],
    ['deep nesting', '['.repeat(1_000)],
  ])('must be ignored if it is none: %s', (_what, message) => {
    expect(parseSignal(message)).toBeNull();
  });
});
