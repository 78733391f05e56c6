/** Names of stations, as they stand in lines that others have made. Pure. */

import { z } from 'zod';

const STATION_NAME = /^[A-Za-z0-9_-]{1,64}$/;

export function isStationName(text: string): boolean {
  return STATION_NAME.test(text);
}

/** Which station has made a line; a line of this one does not say. */
export const stationSchema = z.string().refine(isStationName).exactOptional();

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
