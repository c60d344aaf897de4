export { ClientAddress } from './client-address';
export { accessLog, ConnectionEnd, Draining, createHttpAdapter, setUpHttp } from './http-setup';
export { HttpModule } from './http.module';
export { ErrorResponse, createOpenApiDocument } from './openapi';
export { integerFromQuery, type Page, readPage, decodeCursor, encodeCursor, type PageEnd, PagedQuery } from './paging';
export { headersOf, requestIdOf } from './protocol-errors';
export { headFault } from './request-head';
export { RouteRegistry, type RegisteredRoute } from './route-registry';
export { refuseUpgrade, Upgrades } from './upgrades';
