/** A document of the API that a part of the page shows, read again whenever an event says that it may have changed. */

import { useEffect, useRef, useState } from 'preact/hooks';
import type { ServiceEvent } from '../src/daemon/event-types.ts';
import { ApiError, ask } from './api.ts';
import { generation, onEvent } from './live.ts';

export interface Loaded<T> {
  /** The last one that came, also while a newer one is on its way or could not be had; undefined = none yet. */
  readonly document: T | undefined;
  readonly error: ApiError | null;
  readonly isLoading: boolean;
  readonly reload: () => void;
}

/** Many events at once are one reading, and a busy daemon is not asked more often than this. */
const SETTLE_MS = 400;

/**
 * @param path null = nothing is read
 * @param changes whether an event makes the document old
 */
export function useDocument<T>(path: string | null, changes: (event: ServiceEvent) => boolean = never): Loaded<T> {
  const [state, setState] = useState<{ path: string | null; document: T | undefined; error: ApiError | null }>({
    ...{ path, document: undefined, error: null },
  });
  const [isLoading, setLoading] = useState(path !== null);
  const reload = useRef<() => void>(() => undefined);
  const isOld = useRef(changes);
  isOld.current = changes;
  const readings = generation.value;

  useEffect(() => {
    if (path === null) return;
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isReading = false;
    /** How often it was asked for; what was asked for during a reading is read once more behind it. */
    let asked = 0;
    const read = async () => {
      const answered = asked;
      isReading = true;
      setLoading(true);
      try {
        const document = await ask<T>(path, { signal: ended.signal });
        setState({ path, document, error: null });
      } catch (error) {
        if (ended.signal.aborted) return;
        setState((before) => ({ ...before, path, error: asApiError(error) }));
      }
      isReading = false;
      setLoading(false);
      if (asked > answered) later();
    };
    const later = () => {
      asked++;
      if (isReading) return;
      clearTimeout(timer);
      timer = setTimeout(() => void read(), SETTLE_MS);
    };
    reload.current = later;
    const stop = onEvent((event) => {
      if (isOld.current(event)) later();
    });
    void read();
    return () => {
      stop();
      clearTimeout(timer);
      ended.abort();
    };
  }, [path, readings]);

  // What belongs to another path is not shown as this one's.
  const own = state.path === path ? state : { document: undefined, error: null };
  return { document: own.document, error: own.error, isLoading, reload: () => reload.current() };
}

export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ApiError(message, { code: 'internal', hint: 'Load the page again', status: 0 });
}

function never(): boolean {
  return false;
}
