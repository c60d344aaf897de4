import { needsShell, type NetworkPolicy, splitCommand } from '@berth/client';
import { InvalidArgumentError, Option } from 'commander';

/** Parsers of option values. They throw InvalidArgumentError, which commander prints. */

/** @returns a whole number of 1 or more */
export function whole(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('Use a whole number of 1 or more.');
  return Number(text);
}

/** @returns a number of 0 or more, without a fraction */
export function countFrom0(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Use a whole number of 0 or more.');
  return Number(text);
}

/** @returns a number above 0, such as `0.5` */
export function moreThanZero(text: string): number {
  const number = Number(text);
  if (!(number > 0 && Number.isFinite(number))) throw new InvalidArgumentError('Use a number above 0.');
  return number;
}

/** @returns a number of lines, 0 or more */
export function lineCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('Use a number of lines.');
  return Number(text);
}

/** @returns MiB, from `512`, `512m`, `2g` or `2 GB` */
export function mebibytes(text: string): number {
  const found = /^(\d+(?:\.\d+)?) ?([mg]?)i?b?$/i.exec(text);
  if (!found) throw new InvalidArgumentError('Use a size such as 512, 512m or 2g.');
  return Math.round(Number(found[1]) * (found[2]?.toLowerCase() === 'g' ? 1_024 : 1));
}

/** @returns thousandths of a CPU, from `0.5` or `2` */
export function cpuShares(text: string): number {
  const cpus = Number(text);
  if (!(cpus > 0)) throw new InvalidArgumentError('Use a number of CPUs such as 0.5 or 2.');
  return Math.round(cpus * 1_000);
}

/** @returns seconds, as {@link period}; `tier` means the tier's value */
export function seconds(text: string): number | 'tier' {
  return text === 'tier' ? text : period(text);
}

/** @returns seconds, as {@link period}; `none` means no lifetime */
export function lifetime(text: string): number | 'none' {
  return text === 'none' ? text : period(text);
}

/** @returns seconds, from `90s`, `30m`, `8h` or `7d` */
export function period(text: string): number {
  const found = /^(\d+)([smhd])$/.exec(text);
  if (!found) throw new InvalidArgumentError('Use a time such as 30m, 8h or 7d.');
  const sizes: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };
  return Number(found[1]) * (sizes[found[2] ?? 's'] ?? 1);
}

/** @returns the policy, from `internet`, `none`, or a list such as `203.0.113.0/24:443,198.51.100.7:53/udp` */
function network(text: string): NetworkPolicy {
  if (text === 'internet' || text === 'none') return text;
  return { allow: text.split(',').map((entry) => entry.trim()) };
}

/** The network policy of a container or a template. */
export const networkOption = (): Option =>
  new Option(
    '--network <policy>',
    'Network: internet, none, or a list such as 203.0.113.0/24:443,198.51.100.7:53/udp',
  ).argParser(network);

export type NetworkKind = 'internet' | 'none' | 'allow';

export function networkKind(text: string): NetworkKind {
  if (text === 'internet' || text === 'none' || text === 'allow') return text;
  throw new InvalidArgumentError('Use internet, none or allow.');
}

export function kindOf(policy: NetworkPolicy): NetworkKind {
  return typeof policy === 'string' ? policy : 'allow';
}

/** @returns the API's form `key:value`, from that or from `key=value`, the form in which labels are set and shown */
export function labelFilter(text: string): string {
  return /^[^:]*=/.test(text) ? text.replace('=', ':') : text;
}

export function showNetwork(policy: NetworkPolicy): string {
  return typeof policy === 'string' ? policy : policy.allow.join(',');
}

/** The start command of a container or a template. */
export const startOption = (): Option =>
  new Option('--start <command>', 'Command to run after each start, without a shell').argParser((text: string) => {
    if (needsShell(text)) throw new InvalidArgumentError(`It runs without a shell. Use --start "sh -c '…'".`);
    const words = splitCommand(text);
    if (words === null) throw new InvalidArgumentError('A quotation mark is not closed.');
    if (words.length === 0) throw new InvalidArgumentError('Enter a command.');
    return words;
  });

type Pairs = Readonly<Record<string, string>>;

/** Collects options such as `--env NAME=VALUE` that may be given several times. */
export function pair(text: string, before: Pairs = {}): Pairs {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Use NAME=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

/** Collects an option that may be given several times. */
export function several(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
