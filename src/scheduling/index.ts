export { Clock } from './clock';
export { LocalQueue } from './local-queue';
export { Moment } from './moment';
export { Poll } from './poll';
