import type { BerthEvent } from '@berth/client';
import type { Command } from 'commander';
import { say, sayJsonLine } from './output.ts';
import { openSession, type Session } from './session.ts';
import { countFrom0 } from './values.ts';

export function addWatchCommand(program: Command): void {
  program
    .command('watch')
    .description('Show events as they happen; with --json, one per line')
    .option('--after <seq>', 'Start after this event', countFrom0)
    .action(async ({ after }: { after?: number }, command: Command) => watch(await openSession(command), after));
}

async function watch({ berth, isJson, signal }: Session, after: number | undefined): Promise<void> {
  for await (const event of berth.events.follow({ signal, ...(after !== undefined && { after }) })) {
    if (isJson) sayJsonLine(event);
    else if (event.type === 'resync_required') say('  some earlier events are no longer stored');
    else say(lineOf(event));
  }
}

function lineOf({ seq, timestamp, type, data }: BerthEvent): string {
  const time = timestamp.slice(11, 19);
  const about = subjectOf(data);
  const more = ['status', 'message', 'reason', 'progress'].flatMap((field) => {
    const value: unknown = field in data ? data[field as keyof typeof data] : undefined;
    if (typeof value === 'number') return [`${String(value)}%`];
    return typeof value === 'string' ? [value] : [];
  });
  return [String(seq).padStart(6), time, type.padEnd(20), about, ...more].join('  ');
}

function subjectOf(data: BerthEvent['data']): string {
  if ('name' in data) return data.name;
  return 'program' in data ? `process ${data.program}` : `webhook ${data.host}`;
}
