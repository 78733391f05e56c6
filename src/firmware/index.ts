/** What is inside a flash image. Pure functions on whatever a board held: they take a reader and never do I/O themselves. */

export { describeFirmware, type FirmwareName, type FirmwareSummary, type PartitionSummary } from './describe.ts';
export type { ReadFlash } from './bytes.ts';
export { bootloaderOffset } from './describe.ts';
export { hasSignedBootloader } from './secure-boot.ts';
export { findImage, parseImageHeader, verifyImage, type Image, type ImageVerdict } from './image.ts';
export { findPartitionTable, parsePartitionTable, type Partition, type PartitionTable } from './partitions.ts';
export { mapFlash, partAt, sharesOf, type FlashPart, type FlashRegion, type PartShare } from './flash-map.ts';
export {
  filePartitions,
  findPartition,
  MAX_CONTENT_BYTES,
  readPartition,
  useOf,
  type FlashSource,
  type PartitionBytes,
  type PartitionLookup,
  type PartitionUse,
} from './contents.ts';
export { beginsWithEboot } from './esp8266-arduino.ts';
export { boundToMac, type BoundPlace } from './bound-to-mac.ts';
export { formatRevision, parseRevision, revisionRequirements, type RevisionRequirement } from './requirements.ts';
export {
  compareVersions,
  nameMatches,
  orderInList,
  parseFirmwareRange,
  rangeMatches,
  type FirmwareRange,
} from './versions.ts';
export { readNvs, type NvsEntry, type NvsReading } from './nvs.ts';
export { isSecretKey } from './nvs-secrets.ts';
