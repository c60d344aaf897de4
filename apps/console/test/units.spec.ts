import {
  type Read,
  readCpus,
  readSize,
  readTime,
  sizeInWords,
  writeCpus,
  writeSize,
  writeTime,
} from '../src/data/units.ts';

const valueOf = (read: Read): number | string => ('value' in read ? read.value : read.fault);

describe('an amount', () => {
  it.each([
    [readSize, '1', 1024],
    [readSize, '0.5', 512],
    [readSize, '.25', 256],
    [readSize, ' 1.5 GB ', 1536],
    [readSize, '1.5gib', 1536],
    [readSize, '700MB', 700],
    [readSize, '0.001953125', 2],
    [readSize, '1 TB', 2 ** 20],
    [readSize, '1,5 GB', 1536],
    [readSize, '0,25', 256],
    [readSize, '0,001953125', 2],
    [readCpus, '1', 1000],
    [readCpus, '0.5', 500],
    [readCpus, '0.001', 1],
    [readCpus, '1.1', 1100],
    [readCpus, '2 CPUs', 2000],
    [readCpus, '250m', 250],
    [readCpus, '1,25', 1250],
    [readTime, '30 min', 1800],
    [readTime, '90m', 5400],
    [readTime, '1.5 h', 5400],
    [readTime, '2 hours', 7200],
    [readTime, '1 d 12 h', 129_600],
    [readTime, '1d12h', 129_600],
    [readTime, '1 week', 604_800],
    [readTime, '0.1 h', 360],
    [readTime, '1,5 h', 5400],
    [readTime, '1 d 1,5 h', 91_800],
  ] as const)('must be read exactly: %p %s', (read, text, value) => expect(read(text)).toEqual({ value }));

  it.each([
    [readSize, '', 'Enter an amount'],
    [readSize, 'much', 'Enter an amount'],
    [readSize, '1 GBit', 'Enter an amount'],
    [readSize, '1 constructor', 'Enter an amount'],
    [readSize, '-1', 'Enter an amount'],
    [readSize, '1e3', 'Enter an amount'],
    [readSize, '1,500', 'decimal point'],
    [readSize, '1,500 MB', 'decimal point'],
    [readSize, '0,500', 'decimal point'],
    [readSize, '1,234.5 MB', 'decimal point'],
    [readSize, '1,5,5', 'Enter an amount'],
    [readSize, '1.234,5 MB', 'Enter an amount'],
    [readSize, ',5', 'Enter an amount'],
    [readSize, '0,1', '0,1 is between 102 and 103 MB'],
    [readCpus, '1,000', 'decimal point'],
    [readSize, '0.1', '0.1 is between 102 and 103 MB'],
    [readSize, '0.5 MB', 'between 0 and 1 MB'],
    [readSize, '9999999', 'Too large'],
    [readCpus, '0.0005', 'between 0 and 1 thousandths'],
    [readCpus, '2 GB', 'Enter an amount'],
    [readTime, '', 'Enter a time'],
    [readTime, '30', 'Add a unit'],
    [readTime, '2 h 30', 'Add a unit'],
    [readTime, 'tomorrow', 'Enter a time'],
    [readTime, '2 h tomorrow', 'Enter a time'],
    [readTime, '1 fortnight', 'Enter a time'],
    [readTime, '0.001 min', 'between 0 and 1 seconds'],
    [readTime, '1,500 s', 'decimal point'],
    [readTime, '1 d 1,500 s', 'decimal point'],
    [readTime, '1 h,30 min', 'Enter a time'],
  ] as const)('must be refused, never rounded: %p %s', (read, text, words) =>
    expect(valueOf(read(text))).toContain(words),
  );

  it('must be shown so that it is read again as the same', () => {
    for (const mb of [1, 256, 511, 512, 700, 1000, 1024, 1152, 1536, 10_240, 51_201, 2 ** 31 - 1]) {
      expect(valueOf(readSize(writeSize(mb)))).toBe(mb);
      expect(valueOf(readSize(sizeInWords(mb)))).toBe(mb);
    }
    for (const shares of [1, 250, 333, 1000, 1001, 64_000]) expect(valueOf(readCpus(writeCpus(shares)))).toBe(shares);
    for (const seconds of [1, 60, 61, 3600, 5400, 86_400, 129_601, 604_800]) {
      expect(valueOf(readTime(writeTime(seconds)))).toBe(seconds);
    }
  });

  it.each([
    [512, '512 MB'],
    [700, '700 MB'],
    [1024, '1 GB'],
    [1536, '1.5 GB'],
    [1025, '1025 MB'],
  ])('must be said exactly: %i MB', (mb, words) => expect(sizeInWords(mb)).toBe(words));
});
