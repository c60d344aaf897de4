/**
 * Tests send more requests than any client, and run more containers at once than the machine has room for. Some tests
 * set their own limits.
 */
export const NO_LIMITS = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_PUBLIC_PER_MINUTE: '0',
  RATE_LIMIT_CREATES_PER_MINUTE: '0',
  RATE_LIMIT_GUESTS_PER_HOUR: '0',
  RATE_LIMIT_REFUSALS_PER_MINUTE: '0',
  CONNECTION_LIMIT: '0',
  MEMORY_OVERCOMMIT: '1000',
  CPU_OVERCOMMIT: '1000',
  MEMORY_RESERVE_MB: '0',
  DISK_RESERVE_MB: '0',
} as const;
