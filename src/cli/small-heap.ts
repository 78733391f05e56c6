/**
 * Keeps V8's heap small: imported before everything else, for it holds from then on.
 *
 * A backup makes thousands of short-lived buffers a second. V8 takes that for a reason to let its young generation grow
 * from 1 to 16 MiB, and what the buffers hold outside of the heap waits that much longer to be freed. V8 reads both flags
 * whenever it might let a generation grow, so they need not be options of node, which a shebang cannot give everywhere. A
 * V8 that does not know one prints a warning and goes on; newer ones take no factor below 2, and then only the other helps.
 */

import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--semi-space-growth-factor=1');
setFlagsFromString('--optimize-for-size');
