/** Something that hints at a change of the ports. Hints carry no facts: the listing is asked then. */

export interface HotplugSource {
  /** For logs: `usb`, `/dev`. */
  readonly name: string;
  /**
   * Begins to call `onHint` with a few words for the log, as often as it likes. Resolves when no later change is missed.
   * Rejects when this source cannot work here, with {@link HotplugUnavailable} where that is to be expected.
   */
  start(onHint: (reason: string) => void): Promise<void>;
  /** Ends the hints and frees everything; also during and without a start. Never rejects. */
  close(): Promise<void>;
}

/** The source has nothing to listen to on this system (a container without USB), and that is no fault. */
export class HotplugUnavailable extends Error {
  override readonly name = 'HotplugUnavailable';
}
