/**
 * Takes away the firewall rules that tests left on the machine: those of instances of tests whose network is gone, by
 * the mark that Berth gives to its rules (src/docker/firewall/firewall-rules.ts).
 */
import { readFileSync } from 'node:fs';
import { findCommand, run } from './command.mjs';

/** In `mangle` and `raw`, with the chain that it leads to; in `nat`, with no chain. */
const ruleOfTest =
  /^-A (?:PREROUTING -i|POSTROUTING -s \S+ ! -o) (\S+) -m comment --comment "?berth:test-\S+ -j (?:MASQUERADE|(BERTH-\S+))$/;

/** Where there is no iptables, or no right to use it, there is nothing of ours. */
export async function removeTestRules() {
  for (const program of ['iptables', 'ip6tables'].map(findCommand).filter(Boolean)) {
    for (const table of ['mangle', 'raw', 'nat']) {
      const rules = await run(program, ['-w', '-t', table, '-S'], { cleanup: true }).catch(() => '');
      for (const rule of rules.split('\n')) {
        const [found, bridge, chain] = ruleOfTest.exec(rule) ?? [];
        if (!found || isInterface(bridge)) continue;
        const words = rule.replaceAll('"', '').split(' ');
        // A run in another folder may be at the same.
        const change = (...args) => run(program, ['-w', '-t', table, ...args], { cleanup: true }).catch(() => {});
        await change('-D', ...words.slice(1));
        if (!chain) continue;
        await change('-F', chain);
        await change('-X', chain);
      }
    }
  }
}

function isInterface(name) {
  return readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .some((line) => line.trim().startsWith(`${name}:`));
}
