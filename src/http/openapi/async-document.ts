import type { OpenAPIObject } from '@nestjs/swagger';
import { operationsOf } from './schemas';

/** A JSON Schema; its references point to the OpenAPI document's components. */
type Schema = Readonly<Record<string, unknown>>;

/** The messages of one kind of connection. */
export interface AsyncChannel {
  /** The channel's name in the document, such as `terminal`. */
  readonly name: string;
  /** The Socket.IO namespace, or the path. */
  readonly address: string;
  readonly protocol: 'socketio' | 'websocket' | 'sse' | 'webhook';
  readonly title: string;
  readonly description: string;
  /** Schema of the client's handshake: Socket.IO's `auth`, or a WebSocket's query. */
  readonly handshake?: Schema;
  /** Schemas of the server's messages, by name; several arguments are a list. */
  readonly sends: Readonly<Record<string, Schema>>;
  /** Schemas of the client's messages, by name. */
  readonly takes?: Readonly<Record<string, Schema>>;
}

const DESCRIPTION = `
Messages that are not part of request and response: events over Socket.IO and to webhooks, terminals over Socket.IO and plain
WebSockets, agents, and all streams of Server-Sent Events. For requests and responses, see the OpenAPI document. "send" is
from the server to the client.

A Socket.IO event is a message of the same name. Its payload is the only argument or, for events with several arguments, the list
of them. The client's \`auth\` is the channel's \`x-handshake\`. A refused client gets a \`connect_error\` whose \`data\` is an error as in
the OpenAPI document.
`.trim();

const SERVERS = {
  socketio: {
    host: '127.0.0.1:8080',
    protocol: 'ws',
    pathname: '/socket.io/',
    description: 'Socket.IO 4, over WebSocket or polling.',
    security: [{ $ref: '#/components/securitySchemes/handshake' }],
  },
  websocket: {
    host: '127.0.0.1:8080',
    protocol: 'ws',
    description: 'Plain WebSockets.',
    security: [{ $ref: '#/components/securitySchemes/bearer' }],
  },
  sse: {
    host: '127.0.0.1:8080',
    protocol: 'http',
    description: 'Server-Sent Events.',
    security: [{ $ref: '#/components/securitySchemes/bearer' }],
  },
  webhook: {
    host: 'hooks.example.com',
    protocol: 'https',
    description: 'Receiver of a webhook: the URL set by its user.',
  },
} as const;

/** Creates the AsyncAPI document of these channels and of all Server-Sent Events in the OpenAPI document. */
export function createAsyncApiDocument(openapi: OpenAPIObject, channels: readonly AsyncChannel[]): object {
  const all = [...channels, ...streamsOf(openapi)];
  return {
    asyncapi: '3.0.0',
    info: { title: 'Berth', version: '1', description: DESCRIPTION },
    defaultContentType: 'application/json',
    servers: SERVERS,
    channels: Object.fromEntries(all.map((channel) => [channel.name, channelObject(channel)])),
    operations: Object.fromEntries(all.flatMap(operationsObject)),
    components: {
      schemas: referred(openapi, all),
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'A Berth token: berth_ and 64 hex digits.' },
        handshake: { type: 'apiKey', in: 'user', description: '`auth.token` in the handshake: a Berth token.' },
      },
    },
  };
}

function channelObject({
  name,
  address,
  protocol,
  title,
  description,
  handshake,
  sends,
  takes = {},
}: AsyncChannel): object {
  const messages = [...Object.entries(sends), ...Object.entries(takes)].map(([event, payload]) => [
    event,
    { name: event, title: `${name} ${event}`, payload },
  ]);
  const parameters = [...address.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => [parameter, {}]);
  return {
    address,
    title,
    description,
    servers: [{ $ref: `#/servers/${protocol}` }],
    ...(parameters.length > 0 && { parameters: Object.fromEntries(parameters) as object }),
    messages: Object.fromEntries(messages) as object,
    ...(handshake && { 'x-handshake': handshake }),
  };
}

function operationsObject({ name, title, sends, takes = {} }: AsyncChannel): [string, object][] {
  const operation = (action: 'send' | 'receive', messages: object): [string, object][] => {
    const refs = Object.keys(messages).map((event) => ({ $ref: `#/channels/${name}/messages/${event}` }));
    if (refs.length === 0) return [];
    return [[`${name}_${action}`, { action, channel: { $ref: `#/channels/${name}` }, summary: title, messages: refs }]];
  };
  return [...operation('send', sends), ...operation('receive', takes)];
}

interface EventSchemas {
  readonly oneOf: readonly {
    readonly properties: { readonly event: { readonly enum: readonly string[] }; readonly data: Schema };
  }[];
}

/** Derives a channel from each `text/event-stream` answer and its `contentSchema`. */
function streamsOf(openapi: OpenAPIObject): AsyncChannel[] {
  return operationsOf(openapi).flatMap(({ path, operation }) => {
    const response = operation.responses['200'];
    const content = response && 'content' in response ? response.content['text/event-stream'] : undefined;
    const schemas = (content?.schema as { contentSchema?: EventSchemas } | undefined)?.contentSchema;
    if (!schemas) return [];
    const sends = schemas.oneOf.flatMap(({ properties }) =>
      properties.event.enum.map((event) => [event, properties.data]),
    );
    return [
      {
        name: `stream_${operation.operationId ?? path}`,
        address: path,
        protocol: 'sse' as const,
        title: operation.summary ?? '',
        description: 'See the OpenAPI document for the request and for errors before the stream begins.',
        sends: Object.fromEntries(sends) as Record<string, Schema>,
      },
    ];
  });
}

/** The schemas that the channels refer to, transitively. */
function referred(openapi: OpenAPIObject, channels: readonly AsyncChannel[]): object {
  const schemas = (openapi.components?.schemas ?? {}) as Record<string, unknown>;
  const found = new Map<string, unknown>();
  const look = (value: unknown): void => {
    for (const [, name = ''] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (found.has(name)) continue;
      found.set(name, schemas[name]);
      look(schemas[name]);
    }
  };
  look(channels);
  return Object.fromEntries([...found].sort(([one], [other]) => (one < other ? -1 : 1)));
}
