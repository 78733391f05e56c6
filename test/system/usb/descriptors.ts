/** Standard descriptors and requests of USB 2.0 (chapter 9), made from what a function says of itself. */

import type { ControlRequest, Endpoint, UsbFunction, UsbInterface } from './function.ts';
import { EMPTY } from './function.ts';

const TYPE = { device: 1, configuration: 2, string: 3, interface: 4, endpoint: 5 } as const;
const REQUEST = { getStatus: 0, getDescriptor: 6, getConfiguration: 8, getInterface: 10 } as const;
/** Bits 5 and 6 of the request type: 0 is a standard request. */
const REQUEST_KIND = 0x60;
const ENGLISH = Buffer.from([4, TYPE.string, 0x09, 0x04]);

/** Any request to endpoint 0; undefined refuses it. */
export function answerControl(device: UsbFunction, request: ControlRequest): Buffer | undefined {
  if ((request.requestType & REQUEST_KIND) !== 0) return device.control(request);
  switch (request.request) {
    case REQUEST.getDescriptor:
      return descriptor(device, request.value >> 8, request.value & 0xff);
    case REQUEST.getStatus:
      return Buffer.alloc(2);
    case REQUEST.getConfiguration:
      return Buffer.from([1]);
    case REQUEST.getInterface:
      return Buffer.alloc(1);
    default:
      return EMPTY;
  }
}

function descriptor(device: UsbFunction, type: number, index: number): Buffer | undefined {
  const { manufacturer, product, serialNumber } = device.identity;
  switch (type) {
    case TYPE.device:
      return deviceDescriptor(device);
    case TYPE.configuration:
      return configurationDescriptor(device);
    case TYPE.string:
      return index === 0 ? ENGLISH : stringDescriptor([manufacturer, product, serialNumber][index - 1]);
    default:
      return undefined;
  }
}

function deviceDescriptor({ identity }: UsbFunction): Buffer {
  const { class: codes, vendorId, productId, deviceVersion, manufacturer, serialNumber } = identity;
  const ids = Buffer.alloc(6);
  ids.writeUInt16LE(vendorId, 0);
  ids.writeUInt16LE(productId, 2);
  ids.writeUInt16LE(deviceVersion, 4);
  // USB 2.0, packets of 64 bytes on endpoint 0, then the numbers of the strings, and one configuration.
  const head = Buffer.from([18, TYPE.device, 0x00, 0x02, ...codes, 64]);
  const strings = [manufacturer === undefined ? 0 : 1, 2, serialNumber === undefined ? 0 : 3];
  return Buffer.concat([head, ids, Buffer.from([...strings, 1])]);
}

function configurationDescriptor({ interfaces }: UsbFunction): Buffer {
  const body = Buffer.concat(interfaces.map(interfaceDescriptor));
  const head = Buffer.from([9, TYPE.configuration, 0, 0, interfaces.length, 1, 0, 0x80, 50]);
  head.writeUInt16LE(head.length + body.length, 2);
  return Buffer.concat([head, body]);
}

function interfaceDescriptor({ class: codes, endpoints, before, behind }: UsbInterface, number: number): Buffer {
  const own = Buffer.from([9, TYPE.interface, number, 0, endpoints.length, ...codes, 0]);
  return Buffer.concat([before ?? EMPTY, own, behind ?? EMPTY, ...endpoints.map(endpointDescriptor)]);
}

function endpointDescriptor({ address, type, maxPacketBytes }: Endpoint): Buffer {
  const attributes = type === 'bulk' ? 2 : 3;
  const intervalMs = type === 'bulk' ? 0 : 1;
  return Buffer.from([7, TYPE.endpoint, address, attributes, maxPacketBytes & 0xff, maxPacketBytes >> 8, intervalMs]);
}

function stringDescriptor(text: string | undefined): Buffer | undefined {
  if (text === undefined) return undefined;
  const encoded = Buffer.from(text, 'utf16le');
  return Buffer.concat([Buffer.from([encoded.length + 2, TYPE.string]), encoded]);
}
