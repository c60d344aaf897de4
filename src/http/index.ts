export { acceptsAnyHost, AllowedHosts } from './allowed-hosts';
export { evaluate, isConditional, isRangeWanted, type Representation } from './conditions';
export { addressKey, ClientAddress } from './client-address';
export { ConnectionEnd, Draining, createHttpAdapter, prefixRoutes, setUpHttp } from './http-setup';
export { Tagged, type TaggedRequest } from './entity-tag';
export { HttpModule } from './http.module';
export { mergePatch, PatchPipe, TakesMergePatch } from './merge-patch';
export { type AsyncChannel, createAsyncApiDocument, createOpenApiDocument, eventStream } from './openapi';
export { ApiNextCursor, type Page, readPage, decodeCursor, encodeCursor, PagedQuery, QueryInteger } from './paging';
export { Compressed } from './compressed';
export { HEAD_MS, HttpListener, Listeners } from './listeners';
export { Location } from './location';
export { answerClientError, headersOf, requestIdOf } from './protocol-errors';
export { parseJsonBody } from './request-body';
export { cookieOf, headFault, originOf, timesIn } from './request-head';
export { acceptsEvents, AnswerStreams, EventStream, parseLastEventId } from './server-sent-events';
export { RouteRegistry } from './route-registry';
export { answerPings, refuseUpgrade, Upgrades, type WebSocketEndpoint } from './upgrades';
export { BodyStream, StreamedBody, StreamsBody } from './streamed-body';
export {
  BodyExample,
  createValidationPipe,
  isObjectOf,
  IsUuidText,
  printable,
  printableName,
  validatedBy,
  WITHOUT_NUL,
} from './validation';
export { etagOf, sendStored, type StoredFile } from './stored-file';
