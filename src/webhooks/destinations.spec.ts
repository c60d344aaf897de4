import { networkInterfaces } from 'node:os';
import { Destinations, literalOf } from './destinations';

const nowhere = new Destinations({ WEBHOOK_ALLOWED_NETWORKS: [] });
const inside = new Destinations({ WEBHOOK_ALLOWED_NETWORKS: ['10.1.2.0/24', 'fd00:1::/32'] });

describe('the addresses that webhooks may reach', () => {
  it.each(['8.8.8.8', '1.1.1.1', '172.32.0.1', '192.167.1.1', '100.128.0.1', '2606:4700:4700::1111', '2a00:1450::1'])(
    'must include public ones, by https alone: %s',
    (address) => {
      expect(nowhere.permits(address, 'https:')).toBe(true);
      expect(nowhere.permits(address, 'http:')).toBe(false);
    },
  );

  it.each([
    '0.0.0.0',
    '0.1.2.3',
    '10.0.0.1',
    '100.64.0.1',
    '127.0.0.1',
    '127.9.9.9',
    '169.254.169.254',
    '168.63.129.16',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.192',
    '192.0.2.1',
    '192.88.99.1',
    '192.168.0.1',
    '198.18.0.1',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::127.0.0.1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '::ffff:a9fe:a9fe',
    '64:ff9b::7f00:1',
    '64:ff9b::8.8.8.8',
    '64:ff9b:1::1',
    '100::1',
    '2001::1',
    '2001:db8::1',
    '2002:7f00:1::',
    '3fff::1',
    '5f00::1',
    'fc00::1',
    'fd00:ec2::254',
    'fe80::1',
    'fe80::1%lo',
    'fec0::1',
    'ff02::1',
    'hooks.example.com',
    '',
  ])('must not include special ones, in any form: %s', (address) => {
    expect(nowhere.permits(address, 'https:')).toBe(false);
    expect(nowhere.permits(address, 'http:')).toBe(false);
  });

  it('must include those that the operator allows, by http too, and no others that are not public', () => {
    for (const address of ['10.1.2.3', '::ffff:10.1.2.3', 'fd00:1::7']) {
      expect(inside.permits(address, 'https:')).toBe(true);
      expect(inside.permits(address, 'http:')).toBe(true);
    }
    for (const address of ['10.1.3.3', '127.0.0.1', 'fd00:2::7', 'fd00:1::7%eth0']) {
      expect(inside.permits(address, 'https:')).toBe(false);
    }
    expect(inside.permits('8.8.8.8', 'http:')).toBe(false);
  });

  it('must not include the addresses of the machine itself, even public ones', () => {
    const interfaces = { eth0: [{ address: '8.8.4.4' }, { address: '2606:4700::7' }] };
    const os = jest.requireActual<{ networkInterfaces: typeof networkInterfaces }>('node:os');
    const spy = jest.spyOn(os, 'networkInterfaces').mockReturnValue(interfaces as never);
    expect(nowhere.permits('8.8.4.4', 'https:')).toBe(false);
    expect(nowhere.permits('::ffff:8.8.4.4', 'https:')).toBe(false);
    expect(nowhere.permits('2606:4700:0::7', 'https:')).toBe(false);
    expect(nowhere.permits('8.8.8.8', 'https:')).toBe(true);
    spy.mockRestore();
  });
});

describe('the URL of a webhook', () => {
  it.each([
    'https://hooks.example.com',
    'https://hooks.example.com:8443/berth?token=x',
    'https://8.8.8.8/',
    'https://[2606:4700::1]/',
    'https://10.1.2.3/',
    'http://10.1.2.3/',
    'http://hooks.internal/',
  ])('must be accepted: %s', (url) => expect(inside.faultOf(url)).toBeNull());

  it.each([
    ['hooks.example.com', /https URL/],
    ['ftp://hooks.example.com/', /https URL/],
    ['file:///etc/passwd', /https URL/],
    ['https://', /https URL/],
    [`https://hooks.example.com/${'x'.repeat(2048)}`, /2048 characters/],
    ['https://user:password@hooks.example.com/', /user name/],
    ['https://user@hooks.example.com/', /user name/],
    ['https://hooks.example.com/#fragment', /fragment/],
    ['https://127.0.0.1/', /this address/],
    ['https://2130706433/', /this address/],
    ['https://0x7f.1/', /this address/],
    ['https://0177.0.0.1/', /this address/],
    ['https://127.1/', /this address/],
    ['https://①②⑦.⓪.⓪.①/', /this address/],
    ['https://[::1]/', /this address/],
    ['https://[::ffff:127.0.0.1]/', /this address/],
    ['https://169.254.169.254/latest/meta-data/', /this address/],
    ['http://8.8.8.8/', /this address/],
  ])('must be refused: %s', (url, why) => expect(inside.faultOf(url)).toMatch(why));

  it('must begin with https if the operator allows no network', () => {
    expect(nowhere.faultOf('http://hooks.example.com/')).toMatch(/https:/);
    expect(nowhere.faultOf('https://hooks.example.com/')).toBeNull();
  });

  it('must be recognized as an address in brackets', () => {
    expect(literalOf('[::1]')).toBe('::1');
    expect(literalOf('127.0.0.1')).toBe('127.0.0.1');
    expect(literalOf('localhost')).toBeNull();
  });
});
