/** A link whose control lines are left as they are: for `serial.reset: none`. */

import type { Link } from './link.ts';

/** `link` without control lines: whoever holds it knows that no reset is possible, and can try none. */
export function withoutControlLines(link: Link): Link {
  return new Proxy(link, {
    get(target, key) {
      if (key === 'capabilities') return { ...target.capabilities, controlLines: false };
      if (key === 'setControlLines') return () => Promise.resolve();
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
