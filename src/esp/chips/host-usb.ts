/**
 * Which of a chip's own USB peripherals a link runs over, by the ids that the host sees: for chips whose ROM variable is
 * not known. As esptool does it for all chips: esptool/loader.py (`uses_usb_jtag_serial`, `uses_usb_otg`), commit
 * bb72741ff4fadb2c6958564140e755b44288af32.
 */

import type { UsbFacts } from '../../serial/link.ts';
import type { UsbConnection } from './chip.ts';

const ESPRESSIF_VENDOR = '303a';
const USB_SERIAL_JTAG = '1001';

/**
 * @param host null where the host does not know (network ports): counts as a bridge
 * @param imageChipId the product id of the ROM's own USB-OTG; null for chips without one
 */
export function usbConnectionByIds(host: UsbFacts | null, imageChipId: number | null): UsbConnection {
  if (host?.vendorId !== ESPRESSIF_VENDOR) return 'none';
  if (host.productId === USB_SERIAL_JTAG) return 'usb-serial-jtag';
  const isOtg = imageChipId !== null && host.productId === imageChipId.toString(16).padStart(4, '0');
  return isOtg ? 'usb-otg' : 'none';
}
