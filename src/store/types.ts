/**
 * Objects under keys on a server: as little of S3 as espd needs, so that everything above it can be held against a fake.
 * Wrappers of this interface (retries) behave as it does; `test/store/conformance.ts` is its contract in full.
 *
 * All calls reject with an EspdError of a code `store-...`, or with the reason of the signal. `store-unreachable` and
 * `store-busy` may pass by themselves; the others want a person.
 */

export interface ObjectFacts {
  readonly key: string;
  readonly sizeBytes: number;
  /** Without quotes. Of an object that was put in one piece it is the MD5 in most stores, in hex. */
  readonly etag: string;
  /**
   * How long ago it was written, by the server's own clock at both ends, to the second; absent where the server does not
   * tell. So whoever waits for a time to pass need not trust the clock of any station.
   */
  readonly ageMs?: number;
  /** When it was written by the server's clock, ms since 1970, to the second; absent where the server does not tell. */
  readonly writtenMs?: number;
  /** By {@link ObjectStore.hold}, as `head` says it: true only where it surely is. A server may hide it without the right to know. */
  readonly isHeld?: boolean;
}

/** `if-absent`: only where nothing has the key. `ifMatch`: only over the object with that ETag. */
export type Condition = 'if-absent' | { readonly ifMatch: string };

export interface Cancel {
  readonly signal?: AbortSignal | undefined;
}

export interface Upload {
  readonly key: string;
  readonly id: string;
}

export interface UploadedPart {
  /** From 1 to 10,000. */
  readonly number: number;
  readonly etag: string;
  readonly sizeBytes: number;
}

export interface ListedPage {
  readonly objects: readonly ObjectFacts[];
  /** With `folders`: what stands before the next slash behind the prefix, slash included, once each. */
  readonly folders: readonly string[];
  /** To be given as `from` for the next page; null = this was the last one. */
  readonly next: string | null;
}

export interface ListOptions extends Cancel {
  readonly prefix: string;
  /** What lies deeper than the next slash is told as a folder. */
  readonly folders?: boolean;
  readonly from?: string | null;
  /** Only keys behind this one, in the order of their bytes; of the first page only. A server may pass it over. */
  readonly after?: string;
  /** At most so many entries; the server may give fewer. Absent = as the server likes, at most 1,000. */
  readonly limit?: number;
}

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
  /** See {@link ObjectStore.get}: for what should be no longer than that. */
  readonly checksWhole?: true;
}

/** Bytes of one call are in memory, so more than so many are put in parts and read by ranges. */
export const MAX_PIECE_BYTES = 8 * 1024 * 1024;
/** S3's own limit: only the last part may be smaller. */
export const MIN_PART_BYTES = 5 * 1024 * 1024;

export interface PutAnswer {
  readonly etag: string;
  /** The bucket keeps versions: what had the key before is still there, behind this one. */
  readonly isVersion?: boolean;
}

export interface ObjectStore {
  /** For messages: `bucket at host`. Without secrets. */
  readonly place: string;
  /** The time that a request is signed with now, ms since 1970: that of the server, where this machine's is too wrong. */
  now(): number;
  /**
   * Puts an object of at most {@link MAX_PIECE_BYTES}, whole or not at all. Undefined: the condition did not hold, and
   * nothing was changed.
   */
  put(
    key: string,
    bytes: Uint8Array,
    options?: Cancel & { readonly condition?: Condition | undefined },
  ): Promise<PutAnswer | undefined>;
  /**
   * An object, or `length` bytes of it from `offset` (fewer at its end). Undefined where there is none. All of an object is
   * compared with its ETag where that tells its MD5; so is a range that `checksWhole`, if all of the object has come.
   * @throws EspdError `store-failed` where it has more than {@link MAX_PIECE_BYTES}
   */
  get(
    key: string,
    options?: Cancel & { readonly range?: ByteRange | undefined },
  ): Promise<(ObjectFacts & { readonly bytes: Buffer }) | undefined>;
  head(key: string, options?: Cancel): Promise<ObjectFacts | undefined>;
  /** One page of what begins with `prefix`, in the order of the keys' bytes. */
  list(options: ListOptions): Promise<ListedPage>;
  /**
   * Nothing where there is no such object.
   * @param options.asOf what {@link ObjectStore.now} was when the reason for it was looked up. The request is signed with
   *   that time, so that the server itself refuses it when it comes more than 15 minutes later: a process that was stopped
   *   between its look and its request does no harm when it goes on. Then `store-clock`
   */
  remove(key: string, options?: Cancel & { readonly asOf?: number | undefined }): Promise<void>;

  /** Whether objects of the bucket can be held; such a bucket keeps versions, so nothing that has its key goes by `remove`. */
  canHold(options?: Cancel): Promise<boolean>;
  /**
   * A legal hold on what has this key now, or its end: nobody can destroy what is held, until the hold is ended.
   * @returns false where there is no such object
   */
  hold(key: string, isHeld: boolean, options?: Cancel): Promise<boolean>;

  /** An object in parts becomes visible by {@link completeUpload}, in the place of what is there. */
  beginUpload(key: string, options?: Cancel): Promise<Upload>;
  /** The same number again replaces the part. */
  putPart(upload: Upload, number: number, bytes: Uint8Array, options?: Cancel): Promise<UploadedPart>;
  /** What the server has of it, in order; undefined where it knows no such upload. */
  parts(upload: Upload, options?: Cancel): Promise<readonly UploadedPart[] | undefined>;
  completeUpload(upload: Upload, parts: readonly UploadedPart[], options?: Cancel): Promise<{ readonly etag: string }>;
  /** Nothing where the server knows no such upload. */
  abandonUpload(upload: Upload, options?: Cancel): Promise<void>;
}
