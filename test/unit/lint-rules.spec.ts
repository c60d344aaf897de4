import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
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
  'builder.ts': 'export const write = (manager) => manager.createQueryBuilder().update(1).set(2);',
  'string.ts': "export const read = (db, id) => db.manager.query('SELECT ' + id);",
  'tag.ts': 'export const read = (db) => db.manager.sql`SELECT 1`;',
  'reads.ts':
    'export const read = (db, sql) => [db.manager.createQueryBuilder(1, "a").where(2), db.run(sql`SELECT 1`)];',
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
      'berth/tagged-sql': 'error',
    };
    const config = { jsPlugins: [RULES], categories: { correctness: 'off' }, rules };
    await writeFile(join(directory, 'config.json'), JSON.stringify(config));
    const report = await lint(directory);
    found = report.diagnostics.map(({ filename, code }) => `${filename} ${code}`).sort();
  });

  afterAll(async () => {
    await rm(directory, { recursive: true });
  });

  it('refuse more than seven dependencies, spread literals, own servers and transactions, and SQL in strings', () => {
    expect(found).toEqual([
      'builder.ts berth(tagged-sql)',
      'eight.ts berth(few-dependencies)',
      'expression.ts berth(few-dependencies)',
      'server.ts berth(own-listener)',
      'spread.ts berth(spread-literal)',
      'string.ts berth(tagged-sql)',
      'tag.ts berth(tagged-sql)',
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

describe('the modules and folders of src/', () => {
  const { MODULES, FOLDERS, FOUNDATION } = linterTables();
  const orders = Object.entries(FOLDERS).map(
    ([module, order]) => [module, order.filter((name) => name !== '.')] as const,
  );
  const listed = modulesOfArchitecture();

  it('are all in the linter’s tables, but what is started by itself', () => {
    expect([...Object.keys(MODULES), 'cli', 'migrations'].sort()).toEqual(foldersIn('src'));
    for (const [module, order] of orders) expect(order.toSorted()).toEqual(foldersIn(`src/${module}`));
  });

  it('may import what CONTRIBUTING.md says', () => {
    const text = readFileSync('CONTRIBUTING.md', 'utf8');
    const section = /## Which module may import which\n(.*?)\n## /s.exec(text)?.[1] ?? '';
    const [exact = '', others = ''] = section.split(/^All others may also import/m);
    const said = importsIn(exact);
    for (const [module, imports] of importsIn(others)) said.set(module, [...imports, ...FOUNDATION]);
    expect(sorted(said)).toEqual(sorted(new Map(Object.entries(MODULES))));
    expect(namesIn(others.split(':')[0] ?? '')).toEqual(FOUNDATION);
  });

  it('are those of docs/architecture.md, in the linter’s order', () => {
    expect([...listed.keys()].sort()).toEqual(foldersIn('src'));
    const found = [...listed].map(([module, names]) => [module, names.filter((name) => name.endsWith('/'))] as const);
    expect(Object.fromEntries(found.filter(([, folders]) => folders.length > 0))).toEqual(
      Object.fromEntries(orders.map(([module, order]) => [module, order.map((name) => `${name}/`)])),
    );
  });

  it('have the files that docs/architecture.md lists in them', () => {
    const named = [...listed].flatMap(([module, names]) => names.map((name) => `src/${module}/${name}`));
    expect(named.filter((path) => path.endsWith('.ts')).length).toBeGreaterThan(10);
    expect(named.filter((path) => !existsSync(path))).toEqual([]);
  });
});

type Table = Readonly<Record<string, readonly string[]>>;

/** The tables of the linter's configuration, an ES module, which Jest cannot import. */
function linterTables(): { MODULES: Table; FOLDERS: Table; FOUNDATION: readonly string[] } {
  const script = "import('./oxlint.config.mjs').then((tables) => console.log(JSON.stringify(tables)))";
  const printed = execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  return JSON.parse(printed) as ReturnType<typeof linterTables>;
}

/** The folders that have files; Git leaves no others in another checkout. */
function foldersIn(path: string): string[] {
  const folders = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return folders.map(({ name }) => name).filter((name) => readdirSync(join(path, name)).length > 0);
}

function namesIn(text: string): string[] {
  return [...text.matchAll(/`([a-z0-9-]+)`/g)].map(([, name = '']) => name);
}

/** The items of a list such as "- `errors`: `logging`", by their first name. */
function importsIn(text: string): Map<string, readonly string[]> {
  const items = text
    .replaceAll('\n  ', ' ')
    .split('\n')
    .filter((line) => line.startsWith('- '));
  return new Map(items.map(namesIn).map(([module = '', ...imports]) => [module, imports]));
}

function sorted(table: ReadonlyMap<string, readonly string[]>): Table {
  return Object.fromEntries([...table].map(([module, imports]) => [module, imports.toSorted()]));
}

/** The modules in the tree of docs/architecture.md, with the files and folders that it lists in each. */
function modulesOfArchitecture(): Map<string, string[]> {
  const tree = /```\nsrc\/\n(.*?)\npackages/s.exec(readFileSync('docs/architecture.md', 'utf8'))?.[1] ?? '';
  const modules = new Map<string, string[]>();
  let inside: string[] = [];
  for (const line of tree.split('\n')) {
    const indent = /^ */.exec(line)?.[0].length ?? 0;
    // Two spaces or more separate the names from each other, and from what is said of them.
    const columns = line.trim().split(/ {2,}/);
    const end = columns.findIndex((column) => !/^[\w.-]+(\/|\.ts)$/.test(column));
    const names = end === -1 ? columns : columns.slice(0, end);
    if (indent === 4) inside.push(...names);
    if (indent === 2) {
      for (const name of names.filter((each) => each.endsWith('/'))) modules.set(name.slice(0, -1), (inside = []));
    }
  }
  return modules;
}
