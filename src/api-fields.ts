import { ApiProperty } from '@nestjs/swagger';

/** Schema keywords that a field adds to those of its kind, or replaces. */
interface FieldOptions {
  readonly description?: string;
  readonly example?: unknown;
  readonly default?: unknown;
  readonly nullable?: boolean;
  /** True if not given. */
  readonly required?: boolean;
  readonly deprecated?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  /** Name of the schema that all fields with these values share. */
  readonly enumName?: string;
}

/** Documents a field: with a description and other keywords, or only with the latter. */
type Field = (described?: string | FieldOptions, options?: FieldOptions) => PropertyDecorator;

const field =
  (kind: object): Field =>
  (described = {}, options = {}) => {
    const description = typeof described === 'string' ? { description: described } : described;
    return ApiProperty({ ...kind, ...description, ...options });
  };

/** A string. */
export const Text = field({ type: String });
/** A boolean. */
export const Flag = field({ type: Boolean });
/** A UUID. */
export const Uuid = field({ type: String, format: 'uuid' });
/** A time in ISO 8601. */
export const Timestamp = field({ type: String, format: 'date-time' });
/** A whole number that is not negative. */
export const Count = field({ type: 'integer', minimum: 0 });
/** A number that is not negative, and may have a fraction. */
export const Amount = field({ type: Number, minimum: 0 });
/** One of these strings. */
export const Choice = (values: readonly string[], ...documented: Parameters<Field>): PropertyDecorator =>
  field({ enum: values })(...documented);
