// Loaded before the tests that run on the engine of `which-engine.ts`.
process.env['TEST_ENGINE'] = 'simulated';
process.env['TEST_IMAGE'] = 'berth/sandbox:latest';
