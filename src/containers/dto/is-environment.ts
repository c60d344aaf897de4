import { registerDecorator, ValidationOptions } from 'class-validator';

const MAX_VARIABLES = 64;
const MAX_VALUE_LENGTH = 4096;
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

const RULE =
  `at most ${String(MAX_VARIABLES)} variables, names of letters, digits and "_", ` +
  `values strings of at most ${String(MAX_VALUE_LENGTH)} characters without NUL`;

/** A plain object of environment variables: POSIX names, string values that fit through `execve`. */
export function IsEnvironment(options: ValidationOptions = {}): PropertyDecorator {
  return (target, property) => {
    registerDecorator({
      name: 'isEnvironment',
      target: target.constructor,
      propertyName: String(property),
      options: { message: ({ value }) => (isObject(value) ? RULE : 'must be an object'), ...options },
      validator: { validate: isEnvironment },
    });
  };
}

function isEnvironment(value: unknown): boolean {
  if (!isObject(value)) return false;
  const variables = Object.entries(value);
  return variables.length <= MAX_VARIABLES && variables.every(([name, text]) => NAME.test(name) && isValue(text));
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isValue(text: unknown): boolean {
  return typeof text === 'string' && text.length <= MAX_VALUE_LENGTH && !text.includes('\0');
}
