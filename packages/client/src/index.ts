export { BerthError } from './errors.ts';
