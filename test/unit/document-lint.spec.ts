import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

it("the OpenAPI document must pass all of the linter's recommended rules without an exception", async () => {
  // A program of its own: the linter is an ES module, which jest cannot load.
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['scripts/lint-openapi.mjs']);
  expect(stdout + stderr).toBe('');
});
