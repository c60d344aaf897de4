import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

it('the types must be what docs/openapi.json says, to the letter', async () => {
  const { stderr } = await run(process.execPath, ['packages/client/scripts/generate-types.mjs', '--check']);
  expect(stderr).toBe('');
});
