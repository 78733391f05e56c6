/** Where the built page is, in a checkout as well as installed. */

import { join } from 'node:path';
import { PACKAGE_FOLDER } from '../../doctor/subject.ts';

export const PAGE_FOLDER = join(PACKAGE_FOLDER, 'dist', 'web');
