/** What changed between two backups: in the map of the flash, and in words. */

import { formatSize, plural } from '../../src/cli/text.ts';
import type { ContentsDocument } from '../../src/documents/contents-document.ts';
import type { FileChange, NvsKeyChange, PartComparison } from '../../src/firmware/compare/types.ts';
import { printable } from '../../src/printable.ts';
import type { DiffDocument } from '../documents.ts';
import { ErrorNotice } from '../parts/notice.tsx';
import { useDocument } from '../use-document.ts';
import { FlashMap } from './flash-map.tsx';
import { coloured } from './part-colours.ts';
import { firmwareText } from './time-line.tsx';

interface DiffViewProps {
  readonly mac: string;
  /** Ids, the older first. */
  readonly from: string;
  readonly to: string;
  readonly onClose: () => void;
}

export function DiffView({ mac, from, to, onClose }: DiffViewProps) {
  const query = new URLSearchParams({ from: `${mac}@${from}`, to: `${mac}@${to}` });
  const { document, error } = useDocument<DiffDocument>(`/v1/diff?${query.toString()}`);
  const contents = useDocument<ContentsDocument>(
    `/v1/boards/${encodeURIComponent(mac)}/backups/${encodeURIComponent(to)}/contents`,
  );
  return (
    <section class="stack" aria-labelledby="diff">
      <div class="heading">
        <h2 id="diff">What changed</h2>
        <p class="detail mono">
          {from} → {to}
        </p>
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
      {error !== null && <ErrorNotice error={error} />}
      {document === undefined && error === null && <p role="status">Comparing…</p>}
      {document !== undefined && <Difference diff={document} contents={contents.document} />}
    </section>
  );
}

function Difference({ diff, contents }: { diff: DiffDocument; contents: ContentsDocument | undefined }) {
  const { sectors, regions, equal, opaque } = diff;
  if (equal) return <p class="notice good">Both are equal, every byte of them.</p>;
  const told = `${sectors.differing} of ${plural(sectors.compared, 'sector')} differ (${formatSize(sectors.differing * 4096)})`;
  const firmware = diff.contents?.firmware;
  return (
    <>
      <div class="card">
        <h3>{told}</h3>
        <FlashMap
          sizeBytes={diff.sizeBytes.after}
          blockBytes={65_536}
          parts={coloured(contents?.parts ?? [])}
          changed={regions}
          label={`Map of the flash: ${told}`}
        />
        {opaque === 'encryption' && <p>Flash encryption is on: only sectors can be told.</p>}
        {firmware !== undefined && firmwareText(firmware.before) !== firmwareText(firmware.after) && (
          <p>
            {printable(firmwareText(firmware.before))} → <strong>{printable(firmwareText(firmware.after))}</strong>
          </p>
        )}
      </div>
      {diff.contents?.parts.map((part) => (
        <Part key={`${part.name} ${part.place.after?.offset ?? part.place.before?.offset ?? ''}`} part={part} />
      ))}
    </>
  );
}

const CHANGES: Readonly<Record<PartComparison['change'], string>> = {
  changed: 'changed',
  moved: 'moved',
  came: 'new',
  went: 'gone',
};

function Part({ part }: { part: PartComparison }) {
  const { name, change, sectors, from, to, content, problems } = part;
  return (
    <div class="card">
      <div class="row">
        <h3>{printable(name)}</h3>
        <span class="badge">{CHANGES[change]}</span>
        <span class="detail">
          {plural(sectors, 'sector')}
          {from === null || to === null ? '' : `, 0x${from.toString(16)} to 0x${to.toString(16)}`}
        </span>
      </div>
      {content !== null && <Content content={content} />}
      {problems.map((problem) => (
        <p key={problem} class="detail">
          {printable(problem)}
        </p>
      ))}
    </div>
  );
}

function Content({ content }: { content: NonNullable<PartComparison['content']> }) {
  switch (content.kind) {
    case 'app':
      return (
        <p>
          {printable(firmwareText(content.apps.before))} →{' '}
          <strong>{printable(firmwareText(content.apps.after))}</strong>
        </p>
      );
    case 'ota':
      return (
        <p>
          Starts from {printable(content.slot.before ?? '—')} → <strong>{printable(content.slot.after ?? '—')}</strong>
        </p>
      );
    case 'nvs':
      return (
        <>
          <Keys what="New" changes={content.added} />
          <Keys what="Changed" changes={content.changed} />
          <Keys what="Gone" changes={content.removed} />
        </>
      );
    case 'files':
      return (
        <>
          <FileList what="New" changes={content.added} />
          <FileList what="Changed" changes={content.changed} />
          <FileList what="Gone" changes={content.removed} />
          <FileList what="Perhaps changed" changes={content.unknown} />
        </>
      );
    case 'bootloader':
      return null;
  }
}

/** Of longer lists the rest is counted. */
const MOST = 200;

function Keys({ what, changes }: { what: string; changes: readonly NvsKeyChange[] }) {
  const texts = changes.map(({ namespace, key }) => `${namespace}/${key}`);
  return <Changes what={what} texts={texts} />;
}

function FileList({ what, changes }: { what: string; changes: readonly FileChange[] }) {
  return <Changes what={what} texts={changes.map(({ path, isFolder }) => (isFolder ? `${path}/` : path))} />;
}

function Changes({ what, texts }: { what: string; texts: readonly string[] }) {
  if (texts.length === 0) return null;
  return (
    <div>
      <p class="detail">
        {what} ({texts.length})
      </p>
      <ul class="files">
        {texts.slice(0, MOST).map((text) => (
          <li key={text} class="mono">
            {printable(text)}
          </li>
        ))}
      </ul>
      {texts.length > MOST && <p class="detail">and {texts.length - MOST} more</p>}
    </div>
  );
}
