export { readerOf, readTime } from './column-types';
export { connect } from './connect';
export { Database, isUniqueViolation, type PageRange } from './database';
export { DatabaseModule } from './database.module';
export type { Lookup } from './lookup';
export { ABSENT_FOR_MS, isAbsentSql, ProcessPresence } from './process-presence';
export { Retention } from './retention';
export { SettingEntity } from './setting.entity';
export type { StatementPart } from './statement-part';
