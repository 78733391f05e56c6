/** Boards made of software: the one door to the simulator. */

export { createBoard } from './board.ts';
export type { LineRecord, SimulatedBoard } from './board.ts';
export type { ChipMode, CommandRecord } from './chip.ts';
export { chipModelOf, chipModels } from './chips/index.ts';
export { OPCODE } from './chips/model.ts';
export type { ChipIdentity, ChipModel, Family } from './chips/model.ts';
export type { Fault, When } from './faults.ts';
export { Flash, SECTOR_BYTES, jedecFor } from './flash.ts';
export { demoImage } from './images.ts';
export type { DemoImageOptions } from './images.ts';
export type { LineOptions } from './line.ts';
export { INSTANT_SPEEDS, TYPICAL_SPEEDS } from './loader.ts';
export type { ChipSpeeds } from './loader.ts';
export { memoryLink } from './memory-link.ts';
export type { MemoryLinkOptions } from './memory-link.ts';
export type { BoardOptions } from './options.ts';
export type { BoardPort } from './port.ts';
export { seededRandom } from './random.ts';
export type { Random } from './random.ts';
export type { OtgApp, UsbKind } from './strapping.ts';
export { VirtualClock } from './virtual-clock.ts';
export type { VirtualClockOptions } from './virtual-clock.ts';
