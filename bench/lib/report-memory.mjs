/** Loaded into a measured server (`node --expose-gc --import`): collects garbage when asked to and says what memory is left. */
process.on('message', (message) => {
  if (message?.type !== 'memory') return;
  globalThis.gc();
  process.send({ type: 'memory', usage: process.memoryUsage() });
});
