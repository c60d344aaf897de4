import { ValidationPipe } from '@nestjs/common';
import { invalidParameters } from '../errors';
import { fieldFaults } from './field-faults';

/** Checks what DTO classes declare. Unknown fields are refused, and nothing is converted that a DTO does not convert itself. */
export function createValidationPipe(): ValidationPipe {
  return new ValidationPipe({
    whitelist: true,
    forbidNonWhitelisted: true,
    forbidUnknownValues: true,
    transform: true,
    transformOptions: { enableImplicitConversion: false, exposeUnsetFields: false },
    validationError: { target: false, value: false },
    exceptionFactory: (errors) => invalidParameters(fieldFaults(errors)),
  });
}
