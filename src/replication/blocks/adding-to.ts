/** An archive that tells a library of blocks what it gets to know of the store. */

import type { JournalArchive } from '../journal/own-lines.ts';
import type { BlockLibrary } from './block-library.ts';

export function addingTo(library: BlockLibrary, archive: JournalArchive): JournalArchive {
  const { root, cache, elsewhere } = archive;
  return {
    ...{ root, cache },
    boards: () => archive.boards(),
    resolveBackup: (mac, which) => archive.resolveBackup(mac, which),
    elsewhere: {
      of: (mac) => elsewhere.of(mac),
      gone: (mac) => elsewhere.gone(mac),
      forget: (gone) => elsewhere.forget(gone),
      receive: (mac, file, station, lines) => elsewhere.receive(mac, file, station, lines),
      ownLines: (mac, file, fromByte, tail) => elsewhere.ownLines(mac, file, fromByte, tail),
      async note(backup) {
        const isNews = await elsewhere.note(backup);
        const { mac, id, manifest } = backup;
        if (isNews) await library.add({ mac, id, blocksMd5: manifest.blocks.md5 });
        return isNews;
      },
    },
  };
}
