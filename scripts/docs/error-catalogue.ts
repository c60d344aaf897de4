import { writeFileSync } from 'node:fs';
import { FAULT_DESCRIPTIONS } from '../../src/errors/api-faults';
import { type ErrorCode, ERRORS } from '../../src/errors/domain-error';
import { type AnswerCode, GUIDANCE, type Retry } from '../../src/errors/error-guidance';

const WIDTH = 120;

const RETRIES: Readonly<Record<Retry, string>> = { no: 'no', later: 'later', repeatable: 'if safe' };

const HEAD = `# Errors

All values of \`code\` in responses, generated from the code by \`npm run docs:errors\`. [The API](api.md#errors)
describes the form of an error, [Frontend](frontend.md#errors) how a page handles one. Handle errors by \`code\`, and
unknown codes by their status: later versions and proxies may send others ([stability](stability.md)).

**Whether to retry the same request:**

- **no**: it will fail again. Change the request, or have the cause removed first
- **later**: nothing was changed. Wait for \`Retry-After\`, or use exponential backoff if it is missing
- **if safe**: the request may have taken effect. Repeat it only if that is harmless: reads, starts, stops, settings and
  creations with an [idempotency key](api.md#asking-twice). Otherwise, check the result first

Refused Socket.IO connections have the same \`code\` in the \`data\` of \`connect_error\`. For codes used only by
terminals, see [terminals](inside.md#over-socketio); for reasons of failed creations, see [events](events.md) and
\`status_reason\`.`;

/** @returns the text of `docs/errors.md`, wrapped like all documents */
export function errorCatalogue(): string {
  const codes = (Object.keys(GUIDANCE) as AnswerCode[]).sort();
  const rows = codes
    .flatMap((code) => statusesOf(code).map((status) => [status, code] as const))
    .sort(([a], [b]) => a - b)
    .map(([status, code]) => [String(status), `[\`${code}\`](#${code})`, RETRIES[GUIDANCE[code].retry]]);
  const table = tableOf([['status', '`code`', 'retry'], ...rows]);
  return `${[HEAD, '## By status', table, '## By code', ...codes.map(entryOf)].join('\n\n')}\n`;
}

/** The code's own status, or those of the failures that have it as their reason. */
function statusesOf(code: AnswerCode): number[] {
  const failures = (Object.keys(ERRORS) as ErrorCode[]).filter((each) =>
    (FAULT_DESCRIPTIONS[each]?.codes ?? [each]).includes(code),
  );
  const own = code in ERRORS ? [code as ErrorCode] : [];
  const found = (failures.length > 0 ? failures : own).map((each) => ERRORS[each].status);
  // Docker and its programs fail with 500 if no route declares the code.
  return [...new Set(found.length > 0 ? found : [500])].sort((a, b) => a - b);
}

function entryOf(code: AnswerCode): string {
  const { retry, advice } = GUIDANCE[code];
  const facts = `**${statusesOf(code).join(' or ')}**, retry: ${RETRIES[retry]}. ${meaningOf(code)} ${fieldsOf(code)}`;
  const reaction = `${advice} ${otherCodesOf(code)}`;
  return [`### ${code}`, fill(facts), fill(reaction)].join('\n\n');
}

/** The `error` message and the condition of the code. */
function meaningOf(code: AnswerCode): string {
  const { when = '' } = { ...FAULT_DESCRIPTIONS[code], ...(GUIDANCE[code] as { readonly when?: string }) };
  if (code in ERRORS) return `\`${ERRORS[code as ErrorCode].message}\`: ${when}.`;
  return `${when.charAt(0).toUpperCase()}${when.slice(1)}.`;
}

function fieldsOf(code: AnswerCode): string {
  const names = Object.keys(FAULT_DESCRIPTIONS[code]?.fields ?? {}).map((name) => `\`${name}\``);
  return names.length === 0 ? '' : `With ${names.join(', ')}.`;
}

/** The other codes that a failure's answer may have. */
function otherCodesOf(code: AnswerCode): string {
  const others = FAULT_DESCRIPTIONS[code]?.codes?.filter((each) => each !== code) ?? [];
  if (others.length === 0) return '';
  return `Other codes with this \`error\`: ${others.map((each) => `[\`${each}\`](#${each})`).join(', ')}.`;
}

/** Wraps text into lines of at most {@link WIDTH} columns. */
function fill(text: string): string {
  const lines: string[] = [];
  for (const word of text.trim().split(' ')) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= WIDTH) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines.join('\n');
}

function tableOf(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = widths.map((width) => '-'.repeat(width));
  return [line(rows[0] ?? []), line(rule), ...rows.slice(1).map(line)].join('\n');
}

if (require.main === module) writeFileSync(process.argv[2] ?? 'docs/errors.md', errorCatalogue());
