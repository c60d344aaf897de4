import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const PORT = 'src/engine/port';

/** Methods and properties by the part of the port: `containers` of `EngineContainers`. */
const parts = new Map<string, string[]>();
for (const file of readdirSync(PORT)) {
  const source = readFileSync(join(PORT, file), 'utf8').replace(/\/\*[^]*?\*\//g, '');
  for (const [, name = '', body = ''] of source.matchAll(/^export interface Engine(\w+) \{\n([^]*?)^\}/gm)) {
    const members = [...body.matchAll(/^ {2}(?:readonly )?(\w+)(?:\(|: EngineCapabilities)/gm)];
    if (members.length > 0) parts.set(name.toLowerCase(), members.map(([, member = '']) => member).sort());
  }
}

const page = readFileSync('docs/engine.md', 'utf8');

describe('docs/engine.md', () => {
  it('has a section for each part of the port', () => {
    const source = readFileSync(join(PORT, 'container-engine.ts'), 'utf8');
    const names = [...source.matchAll(/abstract readonly (\w+): Engine/g)].map(([, name]) => name);
    expect([...parts.keys()].sort()).toEqual(names.sort());
    for (const name of names) expect(page).toMatch(new RegExp(`^## .*\`${String(name)}\``, 'm'));
  });

  it.each([...parts])('names each method of %s, and no other', (part, members) => {
    const [section = ''] = page.split(/^## /m).filter((text) => text.split('\n')[0]?.includes(`\`${part}\``));
    const shared = [...parts].filter(([other]) => section.split('\n')[0]?.includes(`\`${other}\``));
    const rows = [...section.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
    const listed = [...(/^Of `files`[^]*?\.\n\n/m.exec(section)?.[0] ?? '').matchAll(/`(\w+)`/g)].map(
      ([, name]) => name,
    );
    const named = new Set([...rows, ...listed.filter((name) => name !== 'files')]);
    expect(members.filter((member) => !named.has(member))).toEqual([]);
    const all = new Set(shared.flatMap(([, names]) => names));
    expect([...named].filter((name) => !all.has(String(name)))).toEqual([]);
  });
});
