/**
 * Whether a request comes from the page itself, by what browsers say of it. Pure.
 *
 * A foreign page can make a browser send requests here, and by DNS rebinding even under a name of its own. It can change
 * neither the Host header (its own name), nor Origin, nor Sec-Fetch-Site. An address in numbers cannot be rebound.
 */

import { isIP } from 'node:net';

export interface SaidHeaders {
  readonly host?: string | undefined;
  readonly origin?: string | undefined;
  readonly 'sec-fetch-site'?: string | string[] | undefined;
}

/** Host of a Host header without its port, lower-case; undefined for what is none. */
function hostOf(header: string | undefined): string | undefined {
  const match = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9.-]{1,253}))(?::\d{1,5})?$/i.exec(header ?? '');
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

/** @param names by which the page may be reached besides addresses and `localhost`; lower-case */
export function isOwnHost(header: string | undefined, names: readonly string[]): boolean {
  const host = hostOf(header);
  return host !== undefined && (isIP(host) !== 0 || host === 'localhost' || names.includes(host));
}

/** Whether the request is no other page's: it says the same origin, or nothing, as programs and old browsers do. */
export function isOwnOrigin(headers: SaidHeaders): boolean {
  const { host, origin } = headers;
  const site = headers['sec-fetch-site'];
  // `none`: a person has typed it, or opened a link from outside of the browser.
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return false;
  if (origin === undefined) return true;
  return host !== undefined && (origin === `http://${host}` || origin === `https://${host}`);
}
