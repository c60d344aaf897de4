/** The browser that a test drives, as users have one: Debian's Chromium, where there is none yet. */
import { ensurePackages } from './apt.mjs';
import { findCommand } from './command.mjs';

/** The tests that drive it, as jest takes it for a pattern. */
export const browserTests = 'test/(e2e|alone)/(inside-browser|console[^/]*)\\.(e2e|more)-spec\\.ts';

/**
 * Under the names that it has on other systems too. The one without windows first: it is smaller, and a test takes a
 * quarter less of the processor.
 */
const PROGRAMS = ['chromium-headless-shell', 'chromium', 'google-chrome-stable', 'google-chrome', 'chromium-browser'];

const installed = () => PROGRAMS.map(findCommand).find((path) => path !== undefined);

export const browserPackages = { packages: { 'chromium-headless-shell': () => installed() !== undefined } };

/** @returns {Promise<string>} its path @throws Problem */
export async function findTestBrowser() {
  await ensurePackages(browserPackages.packages);
  return installed();
}
