import { writeFileSync } from 'node:fs';
import { errorCatalogue } from '../errors';

/** Writes the error catalogue into a file: `node dist/src/cli/error-catalogue.js [FILE]`. */
writeFileSync(process.argv[2] ?? 'docs/errors.md', errorCatalogue());
