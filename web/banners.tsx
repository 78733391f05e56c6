/** What everybody should know, whatever they look at: the connection, and what was missed. */

import { connection, missed, trouble } from './live.ts';

export function ConnectionBanner() {
  const { value: error } = trouble;
  return (
    <>
      {connection.value === 'lost' && (
        <div class="banner bad" role="status">
          <p>
            <strong>{error?.message ?? 'The connection to the station is lost'}.</strong> What stands here may be old.
            The page goes on by itself. {error?.hint}
          </p>
        </div>
      )}
      {missed.value !== null && (
        <div class="banner" role="status">
          <p>{missed.value}</p>
          <button type="button" class="plain" onClick={() => (missed.value = null)}>
            Dismiss
          </button>
        </div>
      )}
    </>
  );
}
