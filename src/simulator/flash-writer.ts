/** FLASH_BEGIN and FLASH_DEFL_BEGIN up to their end: erasing, inflating, programming in order. */

import { SECTOR_BYTES } from './flash.ts';
import type { FlashArray } from './flash.ts';
import { Inflater } from './inflater.ts';
import { eraseMs, programMs } from './loader.ts';
import type { LoaderContext } from './loader.ts';

export interface WritePlan {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly address: number;
  readonly compressed: boolean;
  /** ROM: everything is erased at the beginning; stub: as the data comes. */
  readonly eraseAtOnce: boolean;
}

export interface Written {
  readonly workMs: number;
  readonly problem: 'inflate' | null;
}

export interface FlashWriter {
  /** Bytes of content still to come. */
  readonly remaining: number;
  /** Erases the whole region; the time that takes. */
  eraseAll(): number;
  write(data: Buffer, sequence: number): Written;
}

/** @param flash as the loader reaches it */
export function createFlashWriter(context: LoaderContext, flash: FlashArray, plan: WritePlan): FlashWriter {
  flash.unlock();
  return new Writer(context, flash, plan);
}

class Writer implements FlashWriter {
  readonly #context: LoaderContext;
  readonly #flash: FlashArray;
  readonly #plan: WritePlan;
  readonly #inflater: Inflater | null;
  #address: number;
  #erasedTo: number;
  remaining: number;

  constructor(context: LoaderContext, flash: FlashArray, plan: WritePlan) {
    this.#context = context;
    this.#flash = flash;
    this.#plan = plan;
    this.#inflater = plan.compressed ? new Inflater() : null;
    this.#address = plan.address;
    this.remaining = plan.sizeBytes;
    this.#erasedTo = plan.address - (plan.address % SECTOR_BYTES);
  }

  eraseAll(): number {
    const { speeds, model } = this.#context;
    const start = this.#erasedTo;
    const asked = Math.ceil((this.#plan.address + this.#plan.sizeBytes - start) / SECTOR_BYTES);
    const sectors = model.family === 'esp8266' ? esp8266SectorsErased(start, asked) : asked;
    this.#flash.erase(start, sectors * SECTOR_BYTES);
    this.#erasedTo = start + sectors * SECTOR_BYTES;
    return eraseMs(speeds, start, sectors * SECTOR_BYTES);
  }

  write(data: Buffer, sequence: number): Written {
    const { speeds } = this.#context;
    let content = data;
    if (this.#inflater !== null) {
      try {
        content = this.#inflater.push(data);
      } catch {
        return { workMs: 0, problem: 'inflate' };
      }
    } else if (this.#plan.eraseAtOnce) {
      // The ROM computes the place from the sequence number; a stub goes on where it was.
      this.#address = this.#plan.address + sequence * this.#plan.blockBytes;
      this.remaining = Math.max(0, this.#plan.sizeBytes - sequence * this.#plan.blockBytes);
    }
    const useful = content.subarray(0, this.remaining);
    let workMs = this.#eraseUpTo(this.#address + useful.length);
    this.#flash.program(this.#address, useful);
    workMs += programMs(speeds, useful.length);
    this.#address += useful.length;
    this.remaining -= useful.length;
    return { workMs, problem: null };
  }

  #eraseUpTo(end: number): number {
    if (this.#plan.eraseAtOnce || end <= this.#erasedTo) return 0;
    const start = this.#erasedTo;
    // By blocks of 64 KiB where the rest of the plan is as long, as the stub does.
    const planEnd = Math.ceil((this.#plan.address + this.#plan.sizeBytes) / SECTOR_BYTES) * SECTOR_BYTES;
    while (this.#erasedTo < end) {
      const block = this.#erasedTo % 65536 === 0 && planEnd - this.#erasedTo >= 65536;
      this.#erasedTo += block ? 65536 : SECTOR_BYTES;
    }
    this.#flash.erase(start, this.#erasedTo - start);
    return eraseMs(this.#context.speeds, start, this.#erasedTo - start);
  }
}

/**
 * The ESP8266's ROM counts the sectors up to the first block boundary twice and so erases more than it was asked for
 * (known since esptool's issue 35; hosts ask for less to make up for it).
 */
function esp8266SectorsErased(start: number, asked: number): number {
  const head = 16 - ((start / SECTOR_BYTES) % 16);
  return asked <= head ? Math.min(asked * 2, asked + head) : asked + head;
}
