/** Tests on real Docker also run on the simulated engine if another file sets `TEST_ENGINE` and loads them. */
export const isSimulated = process.env['TEST_ENGINE'] === 'simulated';

/** For tests that need Docker, gVisor or a real kernel. */
export const itOnDocker = isSimulated ? it.skip : it;
