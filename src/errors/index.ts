export { databaseBusy, databaseFault, failedByOutage, isConnectionTimeout } from './database-fault';
export {
  BEARER_CHALLENGE,
  DomainError,
  ERRORS,
  invalidParameters,
  isPausedMeanwhile,
  pausedMeanwhile,
  type ErrorCode,
  type FailureReason,
  type FieldFault,
} from './domain-error';
export { DomainErrorFilter, answerOfStatus, errorAnswer, type ErrorAnswer } from './domain-error.filter';
export { type ApiFault, ApiFaults, FAULT_EXAMPLES, FAULTS_EXTENSION, faultResponse } from './api-faults';
export { type AnswerCode, GUIDANCE } from './error-guidance';
export { ErrorResponse } from './error-response';
