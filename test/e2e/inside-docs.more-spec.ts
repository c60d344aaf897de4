import { Berth, type TestUser } from '../support/servers/berth';
import { blocksOf } from '../support/clients/document-blocks';
import { ReaderShell } from './reader-shell';

jest.setTimeout(120_000);

/** Measured, or given by the machine: that it is there is all that a page can promise of it. */
const VARYING = /^(duration_ms|percent_of_limit|throttled_percent|used_bytes|limit_bytes|rx_bytes|tx_bytes)$/;

let server: Berth;
let user: TestUser;
let shell: ReaderShell;

beforeAll(async () => {
  server = await Berth.start({ subject: 'docs' });
  user = await server.user('free');
  shell = new ReaderShell({ BERTH_URL: server.url, BERTH_TOKEN: user.token });
});

afterAll(async () => {
  shell.remove();
  await server.stop();
});

/** Without what differs from one time to the next. */
function lasting(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replaceAll(/\b([0-9a-f]{64}|[0-9a-f]{12})\b/g, 'DOCKER_ID')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, 'TIME');
}

/** JSON however it is indented, one document or one a line; other text line by line. */
function shown(text: string): unknown {
  const revive = (key: string, value: unknown): unknown =>
    typeof value === 'string' ? lasting(value) : VARYING.test(key) && typeof value === 'number' ? 'a number' : value;
  const parsed = (json: string): unknown => JSON.parse(json, revive);
  const lines = text.split('\n').filter((line) => line !== '');
  try {
    return [parsed(text)];
  } catch {
    return lines.map((line) => {
      try {
        return parsed(line);
      } catch {
        return lasting(line);
      }
    });
  }
}

/** README's first session, which docs/inside.md continues. */
const session = blocksOf('README.md').filter(({ heading }) => heading === 'A first session');
const blocks = [
  ...session.map((block) => ({ document: 'README.md', ...block })),
  ...blocksOf('docs/inside.md').map((block) => ({ document: 'docs/inside.md', ...block })),
].filter(({ language }) => language === 'sh');

it.each(blocks)('$document, line $line: must run as it is written, and answer what is shown', async (block) => {
  const { code, stdout, stderr } = await shell.run(block.text);
  expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.not.stringMatching(/"error":"/) });
  if (block.below) expect(shown(stdout)).toEqual(shown(block.below.text));
});
