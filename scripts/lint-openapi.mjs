// All recommended rules of a linter on the committed document: none is left out, and nothing is excused.
import { createConfig, lint } from '@redocly/openapi-core';

const FILE = 'docs/openapi.json';

const problems = await lint({ ref: FILE, config: await createConfig({ extends: ['recommended'] }) });
for (const { severity, ruleId, message, location } of problems) {
  process.stderr.write(`${FILE} ${location[0]?.pointer ?? ''}: ${severity}: ${message} (${ruleId})\n`);
}
process.exitCode = problems.length > 0 ? 1 : 0;
