export { databaseBusy, databaseFault } from './database-fault';
export { DomainError, ERRORS, invalidParameters, type ErrorCode, type FieldFault } from './domain-error';
export { DomainErrorFilter, answerOfStatus, errorAnswer, type ErrorAnswer } from './domain-error.filter';
