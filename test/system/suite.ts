/**
 * All system tests, in order of what breaks most and matters most. `npm run test:system` runs it:
 * `suite.ts DEADLINE [PATTERN]`, the deadline in milliseconds since 1970.
 */

import './cases/bridges.ts';
import './cases/reenumeration.ts';
import './cases/unplug.ts';
import './cases/not-ours.ts';
import './cases/service.ts';
import './cases/members.ts';
import './cases/page.ts';
import './cases/many-boards.ts';
import './cases/existing.ts';
import './cases/by-hand.ts';
// Last: these take espd away.
import './cases/uninstall.ts';
import './cases/package.ts';
import { runSystemTests } from './session.ts';

const [deadline = '', pattern] = process.argv.slice(2);
runSystemTests(pattern, Number(deadline));
