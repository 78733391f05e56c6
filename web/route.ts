/** Which page is shown: the part of the address behind `#`, so that the server needs to know no paths. */

import { signal } from '@preact/signals';

export interface Route {
  /** Decoded segments: `#/boards/50:02:91:c3:37:a5` is `['boards', '50:02:91:c3:37:a5']`. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const segments = path.split('/').filter((segment) => segment !== '');
  return { path: segments.map(decoded), query: new URLSearchParams(query) };
}

/** The address of a page; parameters that are empty are left out. */
export function linkTo(path: readonly string[], query: Readonly<Record<string, string>> = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== '');
  const text = new URLSearchParams(given).toString();
  return `#/${path.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

export const route = signal<Route>({ path: [], query: new URLSearchParams() });

/** Follows the address from now on. */
export function followAddress(): void {
  const read = () => {
    route.value = parseRoute(location.hash);
  };
  addEventListener('hashchange', read);
  read();
}

export function goTo(link: string): void {
  location.hash = link;
}

/** Changes the parameters of this page without another entry in the browser's history. */
export function replaceQuery(query: Readonly<Record<string, string>>): void {
  const link = linkTo(route.value.path, query);
  if (link === location.hash) return;
  history.replaceState(null, '', link);
  route.value = parseRoute(link);
}
