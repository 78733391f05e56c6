/** Stations as people call them. Pure, for the page in the browser, too. */

const DIGITS = /-[0-9a-f]{12}$/;

/**
 * A station as people call it: without its digits, unless another one is called the same.
 * @param all stations that are known
 */
export function stationText(station: string, all: Iterable<string> = []): string {
  const short = station.replace(DIGITS, '');
  if (short === '') return station;
  for (const other of all) if (other !== station && other.replace(DIGITS, '') === short) return station;
  return short;
}

/** The same of each of them, once, however often it is named: a hundred thousand boards were seen by a few stations. */
export function stationTexts(stations: Iterable<string>): ReadonlyMap<string, string> {
  const all = new Set(stations);
  return new Map(Array.from(all, (station) => [station, stationText(station, all)] as const));
}
