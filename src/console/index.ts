export { setUpConsole } from './console';
