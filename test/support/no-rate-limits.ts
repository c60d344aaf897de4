/** Tests ask more often than any client; those of the limits set their own. */
export const NO_RATE_LIMITS = {
  RATE_LIMIT_PER_MINUTE: '0',
  RATE_LIMIT_CREATES_PER_MINUTE: '0',
  RATE_LIMIT_GUESTS_PER_HOUR: '0',
  RATE_LIMIT_REFUSALS_PER_MINUTE: '0',
} as const;
