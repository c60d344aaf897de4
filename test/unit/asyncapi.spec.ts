import { Ajv } from 'ajv';
import { readFileSync } from 'node:fs';
import { CHANNELS } from '../../src/channels';
import { Berth } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';

describe('the AsyncAPI document', () => {
  const text = readFileSync('docs/asyncapi.json', 'utf8');
  const document = JSON.parse(text) as {
    channels: Record<string, { address: string; messages: Record<string, unknown> }>;
    components: { schemas: Record<string, unknown> };
  };

  it('must be served as docs/asyncapi.json has it, to the letter: `npm run openapi` writes it', async () => {
    const berth = await Berth.start({ engine: new FakeEngine() });
    const answer = await fetch(`${berth.url}/api/asyncapi.json`);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8']);
    const served: unknown = await answer.json();
    await berth.stop();
    expect(`${JSON.stringify(served, null, 2)}\n` === text).toBe(true);
  });

  it('must be valid by the specification’s own schema, and refer to nothing that is not there', () => {
    const file = 'node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json';
    const specification = JSON.parse(readFileSync(file, 'utf8')) as object;
    const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: false });
    expect([ajv.validate(specification, document), ajv.errorsText()]).toEqual([true, 'No errors']);
    for (const [, ref = ''] of text.matchAll(/"\$ref": "#\/([^"]+)"/g)) {
      const found = ref
        .split('/')
        .reduce<unknown>(
          (part, name) => (part as Record<string, unknown> | undefined)?.[name.replaceAll('~1', '/')],
          document,
        );
      expect([ref, typeof found]).toEqual([ref, 'object']);
    }
  });

  it('must have every event of the typed map, the terminals, the agents and all streams of the OpenAPI document', () => {
    const openapi = readFileSync('docs/openapi.json', 'utf8');
    const streams = openapi.split('"contentSchema"').length - 1;
    const channels = Object.values(document.channels);
    expect(channels).toHaveLength(CHANNELS.length + streams);
    expect(Object.keys(document.channels['events']?.messages ?? {})).toEqual(
      expect.arrayContaining(['container_created', 'process_lost', 'agent_connected', 'resync_required']),
    );
    expect(channels.map(({ address }) => address)).toEqual(
      expect.arrayContaining(['/', '/terminal', '/ws/terminal/{id}', '/agents', '/api/events/stream']),
    );
  });
});
