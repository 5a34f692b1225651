/**
 * Data of page maps from bytes in memory.
 *
 * @module
 */
import { type MapData, mapDataOf } from '../../cli/map/map-data.ts';
import { bytesSource, describeFile, findZeroPages } from '../../formats/describe/index.ts';

export function mapDataOfBytes(bytes: Uint8Array, name: string): MapData {
  const source = bytesSource(bytes);
  const scanning = findZeroPages(source);
  for (;;) {
    const { done, value } = scanning.next();
    if (done) return mapDataOf(describeFile(source), name, value);
  }
}
