import type { ContainerRow } from '../container.entity';
import type { ContainerRepository } from '../container.repository';
import { Claim } from './claim';

const TERM_MS = 30_000;

describe('a claim', () => {
  beforeEach(() => jest.useFakeTimers({ doNotFake: [] }));
  afterEach(() => jest.useRealTimers());

  function claimUntil(operationExpiresAt: Date | null): Claim {
    const row = { id: 'one', operation: 'stop', operationId: 'mine', operationExpiresAt } as Partial<ContainerRow>;
    return new Claim({
      row: row as ContainerRow,
      ...{ interrupted: null, termMs: TERM_MS, onEnd: () => undefined, onAbandoned: () => undefined },
      repository: {} as ContainerRepository,
      signals: { on: () => () => undefined, publish: () => undefined },
    });
  }

  it('must end for its holder when it does for everybody else, however long the write of it took', () => {
    const claim = claimUntil(new Date(Date.now() + 1_000));
    expect(() => claim.assertHeld()).not.toThrow();
    jest.advanceTimersByTime(1_000);
    expect(() => claim.assertHeld()).toThrow('the claim ran out');
    claim.end();
  });

  it('must be nobody’s on a row that is not held', () => {
    const claim = claimUntil(null);
    expect(() => claim.assertHeld()).toThrow('the claim ran out');
    claim.end();
  });
});
