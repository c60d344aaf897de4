export { Clock } from './clock';
export { untilAborted, within } from './deadline';
export { LocalQueue } from './local-queue';
export { Moment } from './moment';
export { Poll } from './poll';
