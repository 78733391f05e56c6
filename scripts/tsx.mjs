/**
 * `node --import ./scripts/tsx.mjs`: runs TypeScript as it is, in worker threads too. A thread of Node 20 inherits this
 * import but no loader of the main thread, and there tsx alone would do nothing.
 */

import 'tsx';
import { isMainThread } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

if (!isMainThread) register();
