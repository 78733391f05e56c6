/** Names of stations, as they stand in lines that others have made. Pure. */

import { z } from 'zod';

const STATION_NAME = /^[A-Za-z0-9_-]{1,64}$/;

export function isStationName(text: string): boolean {
  return STATION_NAME.test(text);
}

/** Which station has made a line; a line of this one does not say. */
export const stationSchema = z.string().refine(isStationName).exactOptional();
