import { randomUUID } from 'node:crypto';
import { Logger } from '@nestjs/common';
import { Redis } from 'ioredis';
import { RedisConnection, Signals } from '../../src/signals';
import { RedisSignals } from '../../src/signals/redis-signals';
import { eventually } from '../support/eventually';
import { TcpProxy } from '../support/faults/tcp-proxy';
import { testRedisUrl } from '../support/databases/test-database';

/** One process's signals, and which of the test's own tokens they told of. */
class Peer {
  readonly told: string[] = [];
  readonly redis: RedisConnection;
  readonly signals: Signals;

  constructor(url: string) {
    this.redis = new RedisConnection(url, { answerMs: 3_000, checkMs: 100 });
    this.signals = new RedisSignals(this.redis);
    this.signals.on('token_revoked', ({ tokenId }) => this.told.push(tokenId));
  }
}

describe('signals over Redis', () => {
  let proxy: TcpProxy;
  let peers: Peer[];
  let warnings: jest.SpyInstance;

  beforeEach(async () => {
    peers = [];
    warnings = jest.spyOn(Logger.prototype, 'warn').mockImplementation();
    jest.spyOn(Logger.prototype, 'log').mockImplementation();
    proxy = await TcpProxy.before(testRedisUrl());
  });

  afterEach(async () => {
    for (const { redis } of peers) redis.close();
    await proxy.down();
    jest.restoreAllMocks();
  });

  const open = (): Peer => {
    const peer = new Peer(proxy.url);
    peers.push(peer);
    return peer;
  };

  /** Publishes until it arrives: when a subscription stands is known to Redis alone. @returns the id that arrived */
  async function expectToReach(from: Peer, to: Peer): Promise<string> {
    let arrived: string | undefined;
    const sent: string[] = [];
    await eventually(() => {
      const tokenId = randomUUID();
      sent.push(tokenId);
      from.signals.publish('token_revoked', { tokenId });
      arrived = sent.find((each) => to.told.includes(each));
      expect(arrived).toBeDefined();
    });
    return arrived ?? '';
  }

  it('must reach other processes, once, and the own process once', async () => {
    const [one, two] = [open(), open()];
    await expectToReach(one, two);
    await expectToReach(two, one);
    const tokenId = randomUUID();
    one.signals.publish('token_revoked', { tokenId });
    const last = await expectToReach(one, two);
    expect(two.told.filter((each) => each === tokenId)).toHaveLength(1);
    // What came after it is here in `two`; `one` has had the same from Redis by the time that it is answered a ping.
    await one.redis.ping();
    expect(one.told.filter((each) => each === tokenId || each === last)).toEqual([tokenId, last]);
  });

  it('must be delivered within the process while Redis is down, with one warning an outage', async () => {
    const [one, two] = [open(), open()];
    await expectToReach(one, two);
    await proxy.down();
    await eventually(async () => expect(one.redis.ping()).rejects.toThrow());
    const before = one.told.length;
    for (let n = 0; n < 100; n += 1) one.signals.publish('token_revoked', { tokenId: String(n) });
    expect(one.told).toHaveLength(before + 100);
    await eventually(() => expect(warnings).toHaveBeenCalledTimes(2));
    await proxy.up();
    await expectToReach(one, two);
    await expectToReach(two, one);
    expect(two.told).not.toContain('99');
    expect(warnings).toHaveBeenCalledTimes(2);
  });

  it('must begin to work when Redis comes up after the process', async () => {
    await proxy.down();
    const [one, two] = [open(), open()];
    await expect(one.redis.ping()).rejects.toThrow();
    one.signals.publish('token_revoked', { tokenId: 'alone' });
    expect(one.told).toEqual(['alone']);
    await proxy.up();
    await expectToReach(one, two);
    await eventually(() => one.redis.ping());
  });

  it('must work again after connections that went dead without an end', async () => {
    const [one, two] = [open(), open()];
    await expectToReach(one, two);
    proxy.freeze();
    await expectToReach(one, two);
    await expectToReach(two, one);
    expect(warnings).toHaveBeenCalledTimes(2);
  });

  it('must ignore junk on the channel', async () => {
    const [one, two] = [open(), open()];
    await expectToReach(one, two);
    const stranger = new Redis(testRedisUrl(), { disconnectTimeout: 10 });
    for (const junk of [
      '',
      '{',
      'null',
      '{"origin":"x","name":"token_revoked","payload":{"tokenId":7}}',
      'x'.repeat(2e3),
    ]) {
      await stranger.publish('berth:signals', junk);
    }
    await stranger.publish('berth:signals', '{"origin":"x","name":"token_revoked","payload":{"tokenId":"last"}}');
    await stranger.quit();
    await eventually(() => expect(two.told).toContain('last'));
    expect(two.told.every((each) => typeof each === 'string')).toBe(true);
  });

  it('must leave no connection behind when closed, and publish nothing more', async () => {
    const [one, two] = [open(), open()];
    await expectToReach(one, two);
    one.redis.close();
    two.redis.close();
    await eventually(() => expect(proxy.connections).toBe(0));
    one.signals.publish('token_revoked', { tokenId: 'late' });
    expect(one.told).toContain('late');
    expect(warnings).not.toHaveBeenCalled();
  });
});
