/** A file of tests on real Docker runs on the simulated engine, too, where another sets `TEST_ENGINE` and loads it. */
export const isSimulated = process.env['TEST_ENGINE'] === 'simulated';

/** For what is about Docker, gVisor or a real kernel alone. */
export const itOnDocker = isSimulated ? it.skip : it;
