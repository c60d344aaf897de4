/** The browser that a test drives, as users have one: Debian's Chromium, where there is none yet. */
import { ensurePackages } from './apt.mjs';
import { findCommand } from './command.mjs';

/** The tests that drive it, as jest takes it for a pattern. */
export const browserTests = 'test/e2e/(inside-browser|console.*)\\.more-spec\\.ts';

/** Under the names that it has on other systems too. */
const PROGRAMS = ['chromium', 'google-chrome-stable', 'google-chrome', 'chromium-browser'];

const installed = () => PROGRAMS.map(findCommand).find((path) => path !== undefined);

/** @returns {Promise<string>} its path @throws Problem */
export async function findTestBrowser() {
  await ensurePackages({ chromium: () => installed() !== undefined });
  return installed();
}
