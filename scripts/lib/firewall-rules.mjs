/**
 * Keeps the firewall rules of a Docker that is already on the machine. A starting dockerd empties the chains that all
 * Docker daemons of a machine share (Docker 26, `removeIPChains`), which would break the other one's published ports
 * and the isolation of its networks.
 */
import { findCommand, run } from './command.mjs';

const tables = ['nat', 'filter'];
const shared = /^-A (DOCKER|DOCKER-ISOLATION-STAGE-[12]) /;

/** @returns {Promise<Record<string, string[]>>} the rules in the shared chains, by table */
async function readRules(iptables) {
  const rules = {};
  for (const table of tables) {
    const lines = (await run(iptables, ['-w', '-t', table, '-S'])).split('\n');
    rules[table] = lines.filter((line) => shared.test(line));
  }
  return rules;
}

/**
 * Runs `work` (the start of a daemon) and puts back what it took away.
 * @template T @param {() => Promise<T>} work @returns {Promise<T>}
 */
export async function keepingFirewallRules(work) {
  const programs = ['iptables', 'ip6tables'].map(findCommand).filter(Boolean);
  // A kernel without IPv6 has no such rules, and nothing to lose.
  const before = await Promise.all(programs.map((program) => readRules(program).catch(() => undefined)));
  try {
    return await work();
  } finally {
    for (const [index, program] of programs.entries()) {
      if (before[index]) await putBack(program, before[index]);
    }
  }
}

async function putBack(program, before) {
  const after = await readRules(program);
  for (const table of tables) {
    const lost = before[table].filter((rule) => !after[table].includes(rule));
    // Inserted at the head, last first: a chain's closing rule (RETURN) must stay behind them.
    for (const rule of lost.reverse()) {
      await run(program, ['-w', '-t', table, '-I', ...wordsOf(rule).slice(1)]).catch(() => {});
    }
  }
}

/** A rule as iptables prints it, in words; a comment may be quoted. */
function wordsOf(rule) {
  return [...rule.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain);
}
