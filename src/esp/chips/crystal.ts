/** The crystal from the UART's divider, where no register tells it. */

/** UART_CLKDIV_REG: the integer part of the divider. */
const DIVIDER_MASK = 0xfffff;

/**
 * The crystal of `candidates` (in MHz, the most common one first) that fits best. The ROM measured the host's rate to
 * choose the divider, so the estimate is off by a per cent or two. One that is far beyond every crystal means that the
 * UART no longer runs off it; then the most common one is assumed.
 *
 * @param clockDivider what the UART's clock is divided by before the divider (2 on ESP8266, else 1)
 * Source: esptool `get_crystal_freq`
 */
export function crystalFromDivider(
  uartClkDiv: number,
  baudRate: number,
  clockDivider: number,
  candidates: readonly [number, ...number[]],
): number {
  const estimateMHz = (baudRate * (uartClkDiv & DIVIDER_MASK)) / 1e6 / clockDivider;
  if (estimateMHz > 1.25 * Math.max(...candidates)) return candidates[0];
  return candidates.reduce((best, crystal) =>
    Math.abs(crystal - estimateMHz) < Math.abs(best - estimateMHz) ? crystal : best,
  );
}
