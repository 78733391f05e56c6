/** espd.service(8): the service as systemd runs it. */

import { seeAlso } from './command-pages.ts';
import type { Block, ManPage } from './roff.ts';

const COMMANDS: readonly (readonly [string, string])[] = [
  ['systemctl status espd', 'What it is doing, in one line.'],
  ['journalctl -fu espd', 'Its log, as it is written.'],
  ['systemctl reload espd', 'The config is read again (SIGHUP). Most changes are also taken up without it.'],
  ['systemctl restart espd', 'Ends it and starts it anew, as the few keys need that a running daemon does not take over.'],
  ['systemctl edit espd', 'A drop-in, which no update overwrites.'],
];

export const SERVICE_PAGE: ManPage = {
  name: 'espd.service',
  section: 8,
  summary: 'the service that backs up every board that is plugged in',
  blocks: [
    { section: 'SYNOPSIS' },
    { paragraph: [{ bold: 'espd.service' }] },
    { section: 'DESCRIPTION' },
    {
      paragraph: [
        'Runs ',
        { bold: 'espd-daemon' },
        '(1) as user and group espd, with no more rights than it needs. It is restarted after a failure, but not after exit status 2, which is a wrong config.',
      ],
    },
    {
      paragraph: [
        'A stop (SIGTERM) lets go of all boards within five seconds: each is reset into its own firmware. What was read by then is kept for the next backup of that board.',
      ],
    },
    { section: 'COMMANDS' },
    ...COMMANDS.map(([command, meaning]): Block => ({ term: [{ bold: command }], meaning: [meaning] })),
    { section: 'USERS AND GROUPS' },
    {
      term: [{ bold: 'espd' }, ' (user)'],
      meaning: ['Owns the archive. It is in group dialout, which may use serial ports.'],
    },
    {
      term: [{ bold: 'espd' }, ' (group)'],
      meaning: [
        'Its members may reach into ',
        { italic: '/run/espd' },
        '. They cannot read the archive: flash holds Wi-Fi passwords and keys.',
      ],
    },
    { section: 'FILES' },
    { term: [{ italic: '/etc/espd/config.yaml' }], meaning: ['The config, ', { bold: 'espd.yaml' }, '(5).'] },
    { term: [{ italic: '/var/lib/espd' }], meaning: ['The archive. No update and no removal of espd touches it.'] },
    { term: [{ italic: '/run/espd' }], meaning: ["The service's sockets, there while it runs."] },
    ...seeAlso(['espd(1)', 'espd-daemon(1)', 'espd.yaml(5)', 'systemctl(1)', 'journalctl(1)']),
  ],
};
