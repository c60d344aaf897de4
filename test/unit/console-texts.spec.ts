import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const ROOT = 'apps/console/src';
const WORDS = join(ROOT, 'words');

/** Attributes and calls whose text no person reads. */
const TECHNICAL_ATTRIBUTES = new Set(['class', 'd', 'viewBox', 'style', 'sizes', 'media', 'points', 'transform']);
const TECHNICAL_CALLS =
  /(^|\.)(Error|TypeError|querySelector|querySelectorAll|matchMedia|closest|matches|setData|getData|RegExp|insertRule)$/;

/** Two words, or one with a capital letter that is neither a key, a header nor a type's name. */
const SENTENCE = /\p{L}{2,}[,:;]? [\p{L}(“]/u;
const CAPITALIZED = /^\p{Lu}\p{Ll}+[.…!?]?$/u;

/** Whether a text is shown by its place: between elements, as an attribute, or as a value that becomes one. */
function isTechnical(node: ts.Node): boolean {
  for (let child = node, up = node.parent; !ts.isSourceFile(up); child = up, up = up.parent) {
    if (ts.isImportDeclaration(up) || ts.isExportDeclaration(up) || ts.isTypeNode(up)) return true;
    if (ts.isJsxAttribute(up)) return TECHNICAL_ATTRIBUTES.has(up.name.getText());
    const called = ts.isCallExpression(up) || ts.isNewExpression(up) ? up.expression : child;
    if (called !== child && TECHNICAL_CALLS.test(called.getText())) return true;
    if (ts.isPropertyAssignment(up) && up.name.getText() === 'font') return true;
    if (ts.isStatement(up)) return false;
  }
  return false;
}

/** Comparisons with a key of the keyboard, the name of a tag and the like. */
function isCompared({ parent }: ts.Node): boolean {
  if (ts.isCaseClause(parent) || ts.isElementAccessExpression(parent)) return true;
  return (
    ts.isBinaryExpression(parent) &&
    [ts.SyntaxKind.EqualsEqualsEqualsToken, ts.SyntaxKind.ExclamationEqualsEqualsToken].includes(
      parent.operatorToken.kind,
    )
  );
}

/** The texts in a source that belong into `words`, with their lines. */
function textsIn(name: string, source: string): string[] {
  const kind = name.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS;
  const file = ts.createSourceFile(name, source, ts.ScriptTarget.Latest, true, kind);
  const found: string[] = [];
  const note = (node: ts.Node, text: string): void => {
    const { line } = file.getLineAndCharacterOfPosition(node.getStart());
    found.push(`${name}:${String(line + 1)}: ${text.trim().replaceAll(/\s+/g, ' ')}`);
  };
  const look = (node: ts.Node): void => {
    if (ts.isJsxText(node) && /\p{L}{2}/u.test(node.text)) note(node, node.text);
    const isText =
      ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddle(node) || ts.isTemplateTail(node);
    if (isText && !isTechnical(node) && !isCompared(node)) {
      const isOfElement = ts.isJsxAttribute(node.parent) || ts.isJsxExpression(node.parent);
      if (SENTENCE.test(node.text) || (isOfElement && CAPITALIZED.test(node.text))) note(node, node.text);
    }
    ts.forEachChild(node, look);
  };
  look(file);
  return found;
}

function sourcesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(folder, name))
    .filter((name) => !name.startsWith(WORDS));
}

describe('the texts of the console', () => {
  it.each(sourcesIn(ROOT))('must all be in words: %s', (name) => {
    expect(textsIn(name, readFileSync(name, 'utf8'))).toEqual([]);
  });

  it.each([
    ['between elements', '<p>Stopped</p>'],
    ['as an attribute', '<input placeholder="Name" />'],
    ['in an expression', "<p>{isOn ? 'It is on' : words.off}</p>"],
    ['with values', '<p title={`The last ${n} hours`} />'],
    ['as an option', "ask({ title: 'Delete it?' })"],
  ])('must be found %s', (_where, source) => {
    expect(textsIn('page.tsx', `const page = ${source};`)).toHaveLength(1);
  });

  it('must not be taken for what no person reads', () => {
    const source = `
      import { a } from './a file';
      const page = <p class="muted small" onKeyDown={(event) => event.key === 'Escape' && close()}>{words.title} · 4</p>;
      document.querySelector('main h1');
      throw new Error('not in a container');
    `;
    expect(textsIn('page.tsx', source)).toEqual([]);
  });
});
