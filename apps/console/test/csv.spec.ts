import type { AuditEntryView } from '@berth/client';
import { csvCell, csvLine, exportAudit } from '../src/data/csv.ts';

const entry = (id: number, more: Partial<AuditEntryView> = {}): AuditEntryView => ({
  id: String(id),
  at: '2026-11-26T08:00:00.000Z',
  action: 'container.start',
  outcome: 'ok',
  user_id: null,
  token_id: null,
  subject_user_id: null,
  container_id: null,
  target_id: null,
  address: null,
  request_id: null,
  detail: null,
  finished_at: null,
  ...more,
});

interface PageOfEntries {
  readonly items: readonly AuditEntryView[];
  readonly nextCursor: string | null;
}

async function* pagesOf(count: number, size: number): AsyncGenerator<PageOfEntries> {
  for (let from = 0; from < count; from += size) {
    const items = Array.from({ length: Math.min(size, count - from) }, (_, at) => entry(from + at));
    yield await Promise.resolve({ items, nextCursor: from + size < count ? 'next' : null });
  }
}

const nameOf = (id: string): string | undefined => (id === 'u1' ? '=cmd|calc' : undefined);

describe('a CSV file', () => {
  it.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', "'\t=1"],
    ['a,b', '"a,b"'],
    ['="x"', `"'=""x"""`],
    ['two\nlines', '"two\nlines"'],
    ['plain = text', 'plain = text'],
    ['', ''],
  ])('must have %j as text, never as a formula: %s', (value, written) => {
    expect(csvCell(value)).toBe(written);
  });

  it('must leave numbers as they are, and what is missing empty', () => {
    expect(csvLine([-5, null, 'x'])).toBe('-5,,x\r\n');
  });

  it('must have a line for each entry, with the names that are known', async () => {
    async function* one(): AsyncGenerator<PageOfEntries> {
      const detail = { program: 'npm', bytes: null };
      yield await Promise.resolve({ items: [entry(1, { user_id: 'u1', detail })], nextCursor: null });
    }
    const { file } = await exportAudit(one(), { nameOf, onProgress: () => undefined });
    // The decoder takes the mark of UTF-8 away.
    expect((await file.text()).replace('\uFEFF', '').split('\r\n')).toEqual([
      'at,finished_at,action,outcome,user,user_id,subject_user,subject_user_id,container_id,target_id,address,token_id,' +
        'request_id,program,bytes',
      "2026-11-26T08:00:00.000Z,,container.start,ok,'=cmd|calc,u1,,,,,,,,npm,",
      '',
    ]);
  });

  it.each<[count: number, most: number, exported: number, isCut: boolean]>([
    [5, 10, 5, false],
    [10, 10, 10, false],
    [11, 10, 10, true],
    [12, 10, 10, true],
    [0, 10, 0, false],
  ])('must have of %d entries, with %d at most, %d', async (count, most, exported, isCut) => {
    const told: number[] = [];
    const result = await exportAudit(pagesOf(count, 4), { nameOf, most, onProgress: (done) => told.push(done) });
    expect({ count: result.count, isCut: result.isCut }).toEqual({ count: exported, isCut });
    expect(told.at(-1) ?? 0).toBe(exported);
  });
});
