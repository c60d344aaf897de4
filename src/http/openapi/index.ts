export { type AsyncChannel, createAsyncApiDocument } from './async-document';
export { createOpenApiDocument, setUpDocuments } from './document';
export { eventStream } from './schemas';
