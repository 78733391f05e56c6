/** How a running daemon can be asked: its API, and processes of this installation for the commands that it does. */

import { daemonSocket } from '../config/loader.ts';
import { relayCommand } from '../control/command-process.ts';
import { CommandJobs } from '../control/command-jobs.ts';
import { type Control, openControl } from '../control/control.ts';
import { portKeeperOf } from '../control/port-keeper.ts';
import { Readings } from '../control/readings.ts';
import { Sessions } from '../control/session.ts';
import { commandStarter, readingStarter } from '../control/start-command.ts';
import type { Daemon } from '../daemon/daemon.ts';
import type { EventBody } from '../daemon/event-types.ts';
import type { EventBus } from '../daemon/events.ts';
import type { JobNumbers } from '../daemon/job-numbers.ts';
import type { Station } from '../daemon/station.ts';
import { examine, reportOf } from '../doctor/doctor.ts';
import { systemOutside } from '../doctor/system.ts';
import { type EspdError, hasCode, toEspdError } from '../errors.ts';
import type { CommandContext } from './context.ts';
import { subjectOf } from './doctor-subject.ts';
import type { Host } from './host.ts';
import { openDaemonPage } from './web/daemon-page.ts';

export interface AskedDaemon {
  readonly events: EventBus;
  readonly station: Station;
  readonly service: Daemon;
  readonly numbers: JobNumbers;
  readonly metrics: () => string;
  /** What is done by the clock, as the API tells it. */
  readonly schedules: () => object;
  /** What is known of the other stations, as the API tells it. */
  readonly fleet: () => object | null;
  /** Undefined = the config is in force. */
  readonly reload: () => Promise<EspdError | undefined>;
}

/**
 * Undefined where the daemon cannot be asked: the config says so, nobody has made a place for its socket, or the socket
 * cannot be made, which is logged. Boards are backed up all the same.
 * @throws EspdError `daemon-running`: two daemons would get in each other's way
 */
export async function openDaemonControl(
  context: CommandContext,
  host: Host,
  asked: AskedDaemon,
): Promise<Control | undefined> {
  const { archive, call, clock, config, loaded, log } = context;
  const socketPath = daemonSocket(config, host.env);
  if (socketPath === null) {
    log.debug('No socket: neither $RUNTIME_DIRECTORY nor api.socket names a place');
    if (config.api.listen !== null) log.error('No page: api.listen needs api.socket, which names no place');
    return undefined;
  }
  const { events, fleet, metrics, numbers, reload, schedules, service, station } = asked;
  const emit = (event: EventBody) => events.emit(event);
  const processes = {
    command: relayCommand({ configPath: loaded.path, archivePath: archive.root }, host.env),
    ports: portKeeperOf(service),
    ...{ clock, log, onMark: emit },
  };
  const commands = new CommandJobs({
    ...{ clock, numbers, emit },
    start: commandStarter(processes),
  });
  const outside = systemOutside(host.env);
  try {
    const control = await openControl({
      ...{ archive, call, clock, commands, emit, events, fleet, log, metrics, reload, schedules, socketPath, station },
      readings: new Readings({ clock, start: readingStarter(processes) }),
      daemon: service,
      doctor: async () =>
        reportOf(await examine(subjectOf(context, host.env, outside, socketPath)), outside.person.uid === 0),
      sessions: new Sessions({ ...processes, archivePath: archive.root }),
    });
    const page = await openDaemonPage(context, control);
    return page === undefined ? control : { ...control, close: () => closeBoth(page, control) };
  } catch (error) {
    if (hasCode(error, 'daemon-running')) throw error;
    const { code, hint, message } = toEspdError(error);
    log.error(message, { code, hint });
    return undefined;
  }
}

/** Browsers are sent away first: what they wait for ends with the other. */
async function closeBoth(page: Pick<Control, 'close'>, control: Control): Promise<void> {
  await page.close();
  await control.close();
}
