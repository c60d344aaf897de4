/** Rules of this project's own, for the linter: what its general rules cannot express. */

const name = (node) => (node?.type === 'MemberExpression' && !node.computed ? node.property.name : node?.name);

const OWN_TRANSACTION =
  'opens a transaction of its own, which interleaves on SQLite: use insert(), update() or a query builder';

/**
 * TypeORM's methods that open a transaction by themselves: on SQLite's one connection they would interleave with
 * others.
 */
const ownTransaction = {
  meta: { type: 'problem', docs: { description: 'transactions only by Database.runInTx()' } },
  create: (context) => ({
    CallExpression(node) {
      const method = name(node.callee);
      const target = name(node.callee.object);
      if (!method || !target) return;
      const fromManager = target === 'manager' && /^(save|softRemove|recover)$/.test(method);
      const fromRepository = /[rR]epository$/.test(target) && /^(save|remove|softRemove)$/.test(method);
      if ((fromManager || fromRepository) && node.callee.object.type === 'MemberExpression') {
        context.report({ node, message: OWN_TRANSACTION });
      }
      const isDirect = method === 'transaction' && /^(manager|dataSource)$/.test(target);
      if (isDirect && node.callee.object.type === 'MemberExpression') {
        context.report({ node, message: 'use Database.runInTx(): a direct transaction loses rows on SQLite' });
      }
    },
  }),
};

/** Writes by TypeORM's builders, and SQL that is put together from strings: `sql` does both, safely. */
const taggedSql = {
  meta: { type: 'problem', docs: { description: 'SQL by sql`…` and Database.run(); query builders read' } },
  create: (context) => ({
    CallExpression(node) {
      const method = name(node.callee);
      const on = node.callee.object;
      const isBuilt = on?.type === 'CallExpression' && name(on.callee) === 'createQueryBuilder';
      if (isBuilt && /^(update|insert|delete|softDelete|restore)$/.test(method)) {
        context.report({ node, message: 'write with sql`…` and Database.run(): query builders read' });
      }
      if (/^(query|sql)$/.test(method) && /^(manager|dataSource)$/.test(name(on))) {
        context.report({ node, message: 'use sql`…` and Database.run(): text is not put together from strings' });
      }
    },
    TaggedTemplateExpression({ tag }) {
      if (/^(manager|dataSource)$/.test(name(tag.object)) && name(tag) === 'sql') {
        context.report({ node: tag, message: 'use sql`…` and Database.run(): manager.sql converts no dates' });
      }
    },
  }),
};

/** The literal that a chain of calls begins with: `[…]` of `[…].map(…).filter(…)`. */
function literalOf(node) {
  if (node.type === 'ArrayExpression' || node.type === 'ObjectExpression') return node;
  if (node.type === 'CallExpression' && node.callee.type === 'MemberExpression') return literalOf(node.callee.object);
  return undefined;
}

/** `{ ...{ a, b } }` and `[...['a'].map(f)]`: what is spread could as well be written out, or have a name. */
const spreadLiteral = {
  meta: { type: 'suggestion', docs: { description: 'no literal within a literal, spread' } },
  create: (context) => ({
    SpreadElement(node) {
      if (literalOf(node.argument))
        context.report({ node, message: 'write the members out, or give the literal a name' });
    },
  }),
};

/** More dependencies mean that a class does two things, or that a concept is missing. */
const MAX_DEPENDENCIES = 7;

/** Counts the parameters of constructors. */
const fewDependencies = {
  meta: { type: 'suggestion', docs: { description: 'a class has few dependencies' } },
  create: (context) => ({
    MethodDefinition(node) {
      const { params } = node.value;
      if (node.kind !== 'constructor' || params.length <= MAX_DEPENDENCIES) return;
      const message = `a class has at most ${MAX_DEPENDENCIES} dependencies, this one ${params.length}: find what is missing`;
      context.report({ node, message });
    },
  }),
};

const SERVER_MODULE = /^(node:)?(net|http|https|http2|tls)$/;
const SERVER_MAKERS = /^(createServer|createSecureServer|Server)$/;

/** A server made elsewhere would have none of the bounds that all listeners share. */
const ownListener = {
  meta: { type: 'problem', docs: { description: 'servers only by Listeners' } },
  create: (context) => {
    const report = (node) => context.report({ node, message: 'use Listeners, or HttpListener: they have the bounds' });
    return {
      ImportDeclaration(node) {
        if (node.importKind === 'type' || !SERVER_MODULE.test(node.source.value)) return;
        for (const each of node.specifiers) {
          const isMaker = each.type === 'ImportSpecifier' && SERVER_MAKERS.test(each.imported.name);
          if (isMaker && each.importKind !== 'type') report(each);
        }
      },
      // Of a module that was imported whole.
      MemberExpression(node) {
        if (/^(createServer|createSecureServer)$/.test(name(node))) report(node);
      },
    };
  },
};

export default {
  meta: { name: 'berth' },
  rules: {
    'own-transaction': ownTransaction,
    'spread-literal': spreadLiteral,
    'tagged-sql': taggedSql,
    'few-dependencies': fewDependencies,
    'own-listener': ownListener,
  },
};
