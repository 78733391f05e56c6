/** All system tests, in order of what breaks most. Run it by `npm run test:system`. */

import './cases/bridges.ts';
import './cases/reenumeration.ts';
import './cases/unplug.ts';
import './cases/not-ours.ts';
import './cases/many-boards.ts';
import './cases/service.ts';
import './cases/existing.ts';
// Last: it takes espd away.
import './cases/uninstall.ts';
