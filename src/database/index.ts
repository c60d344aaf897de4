export { connect } from './connect';
export { Database } from './database';
export { DatabaseModule } from './database.module';
export type { Lookup } from './lookup';
export { readerOf, readTime } from './read-column';
export { TIMESTAMP } from './column-types';
export { ABSENT_FOR_MS, isAbsentSql, ProcessPresence } from './process-presence';
export { SettingEntity } from './setting.entity';
export { isUniqueViolation } from './unique-violation';
