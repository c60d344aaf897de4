import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const OXLINT = join(process.cwd(), 'node_modules/oxlint/bin/oxlint');
const RULES = join(process.cwd(), 'scripts/lib/lint-rules.mjs');

/** A class with so many dependencies, in the ways in which they are written. */
function classWith(dependencies: number): string {
  const kinds = ['private readonly a', '@Inject(B) private readonly b', 'c'];
  const parameters = Array.from({ length: dependencies }, (_, at) => `${String(kinds[at % 3])}${String(at)}: object`);
  return `export class Some { constructor(${parameters.join(', ')}) {} method(${'abcdefgh'.split('').join(', ')}) {} }`;
}

const CODE: Readonly<Record<string, string>> = {
  'seven.ts': classWith(7),
  'eight.ts': classWith(8),
  'expression.ts': `export const make = () => ${classWith(9).replace('export ', '')}`,
  'transaction.ts': 'export const save = (db) => db.manager.save(1);',
  'spread.ts': 'export const list = (a) => [...[a, 1].map(String), ...a];',
  'server.ts': "import { createServer as make } from 'node:http'; export const server = make();",
  'whole.ts': "import * as net from 'net'; export const server = net.createServer();",
  'type.ts': "import type { Server } from 'node:net'; import { type Server as Http, request } from 'node:http';",
  'other.ts': "import { Server } from 'ssh2'; export const server = new Server({}, () => undefined);",
  'update.ts': 'export const save = (db) => db.manager.update(1);',
};

describe("the linter's own rules", () => {
  let directory: string;
  let found: string[];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'berth-lint-'));
    for (const [name, code] of Object.entries(CODE)) await writeFile(join(directory, name), code);
    const rules = {
      'berth/own-transaction': 'error',
      'berth/few-dependencies': 'error',
      'berth/spread-literal': 'error',
      'berth/own-listener': 'error',
    };
    const config = { jsPlugins: [RULES], categories: { correctness: 'off' }, rules };
    await writeFile(join(directory, 'config.json'), JSON.stringify(config));
    const report = await lint(directory);
    found = report.diagnostics.map(({ filename, code }) => `${filename} ${code}`).sort();
  });

  afterAll(async () => {
    await rm(directory, { recursive: true });
  });

  it('refuse more than seven dependencies, spread literals, servers and transactions of a file’s own', () => {
    expect(found).toEqual([
      'eight.ts berth(few-dependencies)',
      'expression.ts berth(few-dependencies)',
      'server.ts berth(own-listener)',
      'spread.ts berth(spread-literal)',
      'transaction.ts berth(own-transaction)',
      'whole.ts berth(own-listener)',
    ]);
  });
});

interface Report {
  readonly diagnostics: readonly { readonly filename: string; readonly code: string }[];
}

/** The exit code is not zero where something is found. */
function lint(cwd: string): Promise<Report> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [OXLINT, '-c', 'config.json', '-f', 'json'], { cwd }, (_error, stdout, stderr) => {
      try {
        resolve(JSON.parse(stdout) as Report);
      } catch (error) {
        reject(new Error(`${stdout}${stderr}`, { cause: error }));
      }
    });
  });
}
