/** What a process hands to the commands, and what each command line may say. No command needs more to begin. */

import type { PersonFiles } from '../client/files.ts';
import type { MarkMessage, PortPurpose } from '../control/contract/session-messages.ts';
import type { Progress } from '../transfer/session.ts';
import { Output, type Terminal } from './output.ts';

/** Options that every command has. */
export interface CommonOptions {
  readonly config?: string;
  readonly archive?: string;
  readonly logLevel?: 'error' | 'warn' | 'info' | 'debug';
  readonly json?: boolean;
  readonly color?: boolean;
  /** False: `--no-daemon`. */
  readonly daemon?: boolean;
  /** End the daemon's own job on a board, instead of waiting for it. */
  readonly now?: boolean;
  /** File for the conversations with boards, of commands that speak to one. */
  readonly record?: string;
  readonly withPayload?: boolean;
}

/** What the process hands to the commands. */
export interface Host {
  readonly env: NodeJS.ProcessEnv;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  /** Calls back at each SIGHUP, which from now on does not interrupt. */
  readonly onHangup: (callback: () => void) => void;
  /**
   * From now on signals that would end this process (SIGINT, SIGTERM, SIGHUP) are handed to `take` instead.
   * @returns ends that
   */
  readonly passSignals?: (take: (signal: NodeJS.Signals) => void) => () => void;
  /** The same as a Ctrl-C. */
  readonly interrupt?: () => void;
  /** The command is done for a person by a process of the daemon's. */
  readonly service?: ServiceHost;
}

/** Gives a port back that was taken; never rejects. */
export type ReleasePort = () => void;

/** What a process of the daemon's hands to a command that it does for somebody else. */
export interface ServiceHost {
  /** Config and archive of the daemon. */
  readonly options: Pick<CommonOptions, 'config' | 'archive'>;
  /** The person's folder, which relative device paths are relative to. */
  readonly cwd: string;
  /** The person's, with their rights. */
  readonly files: PersonFiles;
  /**
   * The daemon itself keeps off the port until it is given back.
   * @param onWait called if its own job there must end first, with the name of that job
   * @throws EspdError of the daemon; the signal's reason
   */
  takePort(
    address: string,
    purpose: PortPurpose,
    signal: AbortSignal | undefined,
    onWait: (job: string) => void,
  ): Promise<ReleasePort>;
  /** @param port null = the command works at none */
  readonly onProgress: (port: string | null, progress: Progress) => void;
  /** What a restore is about to do; the next question is about it. */
  readonly onPlan: (plan: unknown) => void;
  /** One of many documents of a command that goes on. */
  readonly onEvent: (event: unknown) => void;
  /** The JSON document of the command, or of its error, whatever the person sees. */
  readonly onDocument: (document: unknown) => void;
  /** What was noted of a board or a backup: the daemon tells it to others. */
  readonly onMark: (mark: MarkMessage) => void;
}

export function outputOf(options: CommonOptions, host: Host): Output {
  // https://no-color.org: any value but the empty one forbids color.
  const color = options.color !== false && !host.env['NO_COLOR'] && host.env['TERM'] !== 'dumb';
  const { service } = host;
  return new Output(host.terminal, {
    json: options.json === true,
    color,
    ...(service === undefined ? {} : { onDocument: service.onDocument, onEvent: service.onEvent }),
  });
}
