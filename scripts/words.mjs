/**
 * Prints the texts that people read, by file: of the console, the command line, and the API's errors. For whoever
 * reads them all at once: what is short, what is said twice, what nobody would say.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const FOLDERS = ['apps/console/src/words', 'packages/cli/src', 'src/errors'];

/** @yields {string} the texts of a file in their order; what is put in by the program is `…` */
function* textsOf(/** @type {ts.Node} */ node) {
  if (ts.isImportDeclaration(node) || ts.isTypeNode(node)) return;
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) yield node.text;
  else if (ts.isJsxText(node)) yield node.text;
  else if (ts.isTemplateExpression(node))
    yield node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
  /** @type {ts.Node[]} */
  const children = [];
  ts.forEachChild(node, (child) => void children.push(child));
  for (const child of children) yield* textsOf(child);
}

const files = FOLDERS.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
for (const file of files) {
  if (!/(?<!\.spec)\.tsx?$/.test(file)) continue;
  const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest);
  const texts = [...textsOf(source)].map((text) => text.replaceAll(/\s+/g, ' ').trim());
  // A word in lower case is a code or a name, not a text.
  const shown = texts.filter((text) => /[A-Z].*[a-z]|[a-z] [a-z]/.test(text));
  if (shown.length > 0) console.log(`\n${file}\n${shown.map((text) => `  ${text}`).join('\n')}`);
}
