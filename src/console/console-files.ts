import { readdirSync, readFileSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { etagOf, type StoredFile } from '../http';

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/**
 * Reads the built console, about a megabyte, into memory: a build that replaces the files must not mix old and new
 * ones in a browser that is loading the console.
 *
 * @returns each file by its path in the folder; none if the console was not built
 */
export function readConsole(folder: string): ReadonlyMap<string, StoredFile> {
  const files = new Map<string, StoredFile>();
  for (const path of filesBelow(folder)) {
    const type = TYPES[extname(path)];
    if (type === undefined) continue;
    const identity = readFileSync(path);
    const [br, gzip] = [readIfThere(`${path}.br`), readIfThere(`${path}.gz`)];
    const bodies = { identity, ...(br && { br }), ...(gzip && { gzip }) };
    files.set(relative(folder, path).split(sep).join('/'), { type, etag: etagOf(identity), bodies });
  }
  return files;
}

function filesBelow(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  } catch {
    return [];
  }
}

function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
