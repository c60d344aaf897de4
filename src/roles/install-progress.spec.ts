import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type InstallProgress, InstallProgressReader } from './install-output';

const recorded = (name: string): string[] =>
  readFileSync(join(__dirname, '../../test/support/docker/package-managers', `${name}.txt`), 'utf8').split('\n');

function read(lines: readonly string[]): InstallProgress[] {
  const reader = new InstallProgressReader();
  return lines.flatMap((line) => reader.take(line) ?? []);
}

/** apk was not at hand: as its sources say, `done/total` in bytes. */
const APK = Array.from({ length: 41 }, (_line, index) => `${String(index * 1_650_011)}/66000440`);

describe('the progress of an installation', () => {
  it.each<[string, readonly string[], number]>([
    [
      'apt',
      [
        'berth:family:apt',
        'berth:step:update',
        ...recorded('apt-update'),
        'berth:step:install',
        ...recorded('apt-install'),
      ],
      40,
    ],
    ['apk', ['berth:family:apk', 'berth:step:install', ...APK], 40],
    ['dnf 4', ['berth:family:dnf', 'berth:step:install', ...recorded('dnf4-install')], 6],
    ['dnf 5', ['berth:family:dnf', 'berth:step:install', ...recorded('dnf5-install')], 7],
  ])('must move from the beginning to the end, never back, as %s reports it', (_family, lines, values) => {
    const told = read(lines);
    const percents = told.map(({ percent }) => percent);
    expect(percents).toEqual([...percents].sort((a, b) => a - b));
    expect(percents[0]).toBe(0);
    expect(percents.at(-1)).toBeGreaterThanOrEqual(98);
    expect(new Set(percents).size).toBeGreaterThanOrEqual(values);
    expect(told.every(({ percent, message }) => Number.isInteger(percent) && /^[a-z ]+$/.test(message))).toBe(true);
  });

  it('must begin each part where the one before ended', () => {
    const told = read([
      'berth:family:apt',
      'berth:step:update',
      'dlstatus:4:100.0000:Retrieving file 4 of 4',
      'berth:step:install',
      'dlstatus:19:100.0000:Retrieving file 19 of 19',
      'pmstatus:libc6:amd64:50.0000:Unpacking libc6 (amd64)',
      'pmstatus:python3:98.7013:Installed python3 (amd64)',
    ]);
    expect(told.map(({ percent }) => percent)).toEqual([0, 1, 15, 15, 45, 72, 98]);
    expect(new Set(told.map(({ message }) => message)).size).toBe(4);
  });

  it.each([
    ['apt', 'pmerror:python3:12.3:subprocess returned error exit status 1'],
    ['apt', 'E: Unable to locate package nothing'],
    ['apt', 'dlstatus:1:nonsense:x'],
    ['apk', '1/2/3'],
    ['apk', 'x1/2'],
    ['dnf', 'Error: Unable to find a match: 1/2'],
    ['dnf', '  berth-alpha-1.0-1.noarch  berth-beta-1.0-1.noarch  berth-gamma-1.0-1.noarch '],
    ['', 'dlstatus:1:50.0:x'],
  ])('must leave to the output what is no progress of %s: %s', (family, line) => {
    const reader = new InstallProgressReader();
    if (family !== '') reader.take(`berth:family:${family}`);
    expect(reader.take(line)).toBeNull();
  });

  it('must stay between its bounds whatever is counted', () => {
    const odd = ['0/0', '5/0', '99999999999999999999/1', '7/3', '0/99999999999999999999'];
    const percents = read(['berth:family:apk', 'berth:step:install', ...odd]).map(({ percent }) => percent);
    expect(percents).toEqual([0, 1, 1, 1, 99, 99, 99]);
  });
});
