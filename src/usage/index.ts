export { ListUsageDto } from './dto/requests';
export { UsageListView, viewUsageList } from './dto/responses';
export type { DayUse } from './metering';
export { UsageLedger } from './usage-ledger';
export { UsageModule } from './usage.module';
export { UsageReader } from './usage-reader';
