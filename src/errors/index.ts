export { databaseBusy, databaseFault } from './database-fault';
export { DomainError, ERRORS, invalidParameters } from './domain-error';
export type { ErrorCode, FieldFault } from './domain-error';
export { DomainErrorFilter } from './domain-error.filter';
export { answerOfStatus, errorAnswer } from './error-answer';
export type { ErrorAnswer } from './error-answer';
