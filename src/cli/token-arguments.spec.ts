import { parseConfig } from '../config';
import { loadTiers, TiersService } from '../tiers';
import { parseTokenArguments } from './token-arguments';

const tiers = new TiersService(loadTiers(parseConfig({})));
const parse = (line: string) => parseTokenArguments(line === '' ? [] : line.split(' '), tiers);

describe('the arguments of the token command', () => {
  it('must need no more than a user and a tier', () => {
    expect(parse('--user ada --tier free')).toEqual({
      user: 'ada',
      tier: 'free',
      scopes: ['read', 'write', 'exec'],
      expiresInDays: null,
      format: 'berth',
      name: 'cli',
      isFirstAdmin: false,
    });
  });

  it('must be taken as they are given', () => {
    expect(parse('--user=ada --tier=pro --scopes=admin,exec --expires-in 30 --name laptop --first-is-admin')).toEqual({
      user: 'ada',
      tier: 'pro',
      scopes: ['admin', 'exec'],
      expiresInDays: 30,
      format: 'berth',
      name: 'laptop',
      isFirstAdmin: true,
    });
  });

  it('must be refused with every fault at once', () => {
    expect(parse('--user -x --tier gold --scopes read,agent --expires-in 0 --colour red more')).toEqual({
      faults: expect.arrayContaining([
        expect.stringContaining('--user must be 1 to 64'),
        expect.stringContaining('--tier must be one of guest, free, pro, enterprise'),
        expect.stringContaining('--scopes must be'),
        expect.stringContaining('--expires-in must be'),
        'unknown option: --colour',
        'unexpected argument: more',
      ]) as unknown,
    });
  });

  it.each([
    ['', ['--user is missing', '--tier is missing']],
    ['--user --tier free', expect.arrayContaining(['--user needs a value']) as unknown],
    ['--user ada --tier free --name=', ['--name needs a value']],
    ['--user ada --tier free --expires-in 99999', ['--expires-in must be a whole number of days from 1 to 3650']],
    ['--user ada --tier free --first-is-admin=no', ['--first-is-admin takes no value']],
    ['--user ada --tier __proto__', ['--tier must be one of guest, free, pro, enterprise']],
  ])('must say what is wrong with "%s"', (line, faults) => {
    expect(parse(line)).toEqual({ faults });
  });
});
