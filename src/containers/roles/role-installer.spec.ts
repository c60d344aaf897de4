import pino from 'pino';
import type { EventLog } from '../../events';
import type { RoleInstallation } from './role-installation';
import { RoleInstaller } from './role-installer';
import type { RoleRepository } from './role.repository';

const CONTAINERS = 1_500;

afterEach(() => void jest.useRealTimers());

it('failed attempts of containers of which nothing more is heard must not be kept in mind without end', async () => {
  // The next attempt of each is due in a second.
  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  const lease = (id: string): unknown => {
    const row = { id, role: 'node', operation: null };
    return { row, release: () => Promise.resolve(row), end: () => undefined };
  };
  const repository = {
    listOpen: () => Promise.resolve([]),
    ownerOf: (id: string) => Promise.resolve(id),
    acquireLease: (id: string) => Promise.resolve(lease(id)),
  };
  const installation = { attempt: () => Promise.resolve({ kind: 'later', cause: null }) };
  const installer = new RoleInstaller(
    repository as unknown as RoleRepository,
    installation as unknown as RoleInstallation,
    { onCommitted: () => undefined } as unknown as EventLog,
    { SWEEP_INTERVAL_SECONDS: 3600 },
    pino({ level: 'silent' }),
  );
  await installer.start();
  for (let made = 0; made < CONTAINERS; made += 1) installer.wake(String(made));
  const { tries, working } = installer as unknown as {
    tries: { values: Map<string, unknown> };
    working: Map<string, { done: Promise<void> }>;
  };
  await Promise.all([...working.values()].map(({ done }) => done));
  expect(tries.values.size).toBe(1_000);
  expect(tries.values.has(String(CONTAINERS - 1))).toBe(true);
  await installer.onModuleDestroy();
});
