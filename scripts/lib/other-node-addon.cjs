/** Loaded first into tests on another Node.js: see other-node.mjs. */
const load = process.dlopen.bind(process);
process.dlopen = (module, file, ...rest) =>
  load(module, file.endsWith('better_sqlite3.node') ? process.env.BERTH_TEST_SQLITE_ADDON : file, ...rest);
