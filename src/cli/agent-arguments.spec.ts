import { parseAgentArguments } from './agent-arguments';

const token = `berth_${'0a'.repeat(32)}`;
const parse = (line: string, environment: Record<string, string> = {}) =>
  parseAgentArguments(line === '' ? [] : line.split(' '), environment);

describe('the arguments of the agent', () => {
  it('must be taken from the command line, or else from the environment', () => {
    const environment = { BERTH_URL: 'https://berth.example/', BERTH_AGENT_TOKEN: token };
    expect(parse('', environment)).toEqual({ url: 'https://berth.example', token });
    expect(parse('--url http://127.0.0.1:8080', environment)).toEqual({ url: 'http://127.0.0.1:8080', token });
    expect(parse(`--url=https://berth.example --token=${token}`)).toEqual({ url: 'https://berth.example', token });
  });

  it('must be refused with every fault at once, and without the token', () => {
    expect(parse('--url berth.example --token berth_secret --loud more')).toEqual({
      faults: [
        'unknown option: --loud',
        'unexpected argument: more',
        '--url must be http:// or https:// with a host, and no path',
        '--token must be berth_ and 64 hex, as POST /api/agents gave it',
      ],
    });
    expect(parse('', { BERTH_URL: '' })).toEqual({
      faults: ['--url or BERTH_URL is missing', '--token or BERTH_AGENT_TOKEN is missing'],
    });
  });

  it.each([
    'ftp://berth.example',
    'https://berth.example/api',
    'https://me@berth.example',
    'https://berth.example?a=1',
  ])('must not be %s', (url) => {
    expect(parse(`--url ${url} --token ${token}`)).toEqual({ faults: [expect.stringContaining('--url must be')] });
  });
});
