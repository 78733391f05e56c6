/** What is in one backup: the map of the flash, partitions, settings and files, and what can be downloaded. */

import { useState } from 'preact/hooks';
import { formatSize, plural } from '../../src/cli/text.ts';
import type { ContentsDocument } from '../../src/documents/contents-document.ts';
import type { FilesInventory, NvsInventory } from '../../src/firmware/inventory-types.ts';
import { printable } from '../../src/printable.ts';
import { ErrorNotice } from '../parts/notice.tsx';
import { useDocument } from '../use-document.ts';
import { FlashMap, Swatch } from './flash-map.tsx';
import { coloured } from './part-colours.ts';
import { firmwareText } from './time-line.tsx';

interface BackupViewProps {
  readonly mac: string;
  readonly id: string;
}

export function BackupView({ mac, id }: BackupViewProps) {
  const [isRevealed, setRevealed] = useState(false);
  const path = backupPath(mac, id);
  const { document, error } = useDocument<ContentsDocument>(`${path}/contents${isRevealed ? '?reveal=true' : ''}`);
  return (
    <section class="stack" aria-labelledby="backup">
      <div class="heading">
        <h2 id="backup" class="mono">
          {id}
        </h2>
        <a class="button" href={`${path}/image`} download>
          Download the image
        </a>
      </div>
      {error !== null && <ErrorNotice error={error} />}
      {document === undefined && error === null && <p role="status">Reading the image…</p>}
      {document !== undefined && (
        <>
          <Map contents={document} path={path} />
          {document.opaque === 'encryption' && (
            <div class="notice warn">
              <p>Flash encryption is on: what was read is ciphertext, and only its sectors can be told.</p>
            </div>
          )}
          {document.problems.map((problem) => (
            <p key={problem} class="notice warn">
              {printable(problem)}
            </p>
          ))}
          {document.nvs.map((reading) => (
            <Nvs key={reading.partition} reading={reading} isRevealed={isRevealed} onReveal={setRevealed} />
          ))}
          {document.files.map((reading) => (
            <Files key={reading.partition} reading={reading} path={path} />
          ))}
        </>
      )}
    </section>
  );
}

function backupPath(mac: string, id: string): string {
  return `/v1/boards/${encodeURIComponent(mac)}/backups/${encodeURIComponent(id)}`;
}

function Map({ contents, path }: { contents: ContentsDocument; path: string }) {
  const { sizeBytes, map, before, firmware, boots } = contents;
  const parts = coloured(contents.parts);
  const count = (cell: string) => map.cells.filter((one) => one === cell).length;
  const changed =
    before === null ? '' : ` ${plural(count('changed') + count('erased'), 'block')} changed since ${before.id}.`;
  const told = `${formatSize(sizeBytes)} in blocks of ${formatSize(map.blockBytes)}, ${count('blank')} of them blank.${changed}`;
  return (
    <div class="card">
      <h3>
        {printable(firmwareText(firmware))}
        {boots === null ? '' : `, starts from ${printable(boots)}`}
      </h3>
      <FlashMap
        {...{ sizeBytes, parts, cells: map.cells }}
        blockBytes={map.blockBytes}
        label={`Map of the flash: ${told}`}
      />
      <p class="detail">{told} Pale: blank. Dot: changed.</p>
      <div class="scroll">
        <table>
          <caption class="sr">Partitions</caption>
          <thead>
            <tr>
              <th scope="col">Part</th>
              <th scope="col" class="roomy">
                Type
              </th>
              <th scope="col">Offset</th>
              <th scope="col" class="number">
                Size
              </th>
              <th scope="col">Get</th>
            </tr>
          </thead>
          <tbody>
            {parts
              .filter(({ kind }) => kind !== 'gap')
              .map((part) => (
                <tr key={part.offset}>
                  <td>
                    <Swatch colour={part.colour} /> {printable(part.name)}
                  </td>
                  <td class="roomy">{printable([part.type, part.subtype].filter(Boolean).join(' '))}</td>
                  <td class="mono">0x{part.offset.toString(16)}</td>
                  <td class="number">{formatSize(part.sizeBytes)}</td>
                  <td>
                    {part.kind === 'partition' && (
                      <a
                        href={`${path}/image?partition=${encodeURIComponent(part.name)}`}
                        download
                        aria-label={`Download ${printable(part.name)}`}
                      >
                        Download
                      </a>
                    )}
                  </td>
                </tr>
              ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

interface NvsProps {
  readonly reading: NvsInventory;
  readonly isRevealed: boolean;
  readonly onReveal: (isRevealed: boolean) => void;
}

const NVS_STATES: Readonly<Record<NonNullable<NvsInventory['state']>, string>> = {
  plain: '',
  blank: 'It is blank.',
  encrypted: 'It is encrypted: nothing of it can be read.',
  unknown: 'It cannot be read.',
};

function Nvs({ reading, isRevealed, onReveal }: NvsProps) {
  // Where its bytes could not be had, its problems say so.
  const state = reading.state === null ? '' : NVS_STATES[reading.state];
  const rows = reading.namespaces.flatMap(({ name, keys }) => keys.map((key) => ({ namespace: name, ...key })));
  return (
    <div class="card">
      <div class="heading">
        <h3>Settings in {printable(reading.partition)}</h3>
        {rows.length > 0 && (
          <button type="button" aria-pressed={isRevealed} onClick={() => onReveal(!isRevealed)}>
            {isRevealed ? 'Hide values' : 'Show values'}
          </button>
        )}
      </div>
      {state !== '' && <p class="detail">{state}</p>}
      {reading.problems.map((problem) => (
        <p key={problem} class="detail">
          {printable(problem)}
        </p>
      ))}
      {rows.length > 0 && (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Namespace</th>
                <th scope="col">Key</th>
                <th scope="col">Type</th>
                <th scope="col">Value</th>
              </tr>
            </thead>
            <tbody>
              {rows.map(({ namespace, key, type, secret, value, sizeBytes }) => (
                <tr key={`${namespace}\0${key}`}>
                  <td>{printable(namespace)}</td>
                  <td>{printable(key)}</td>
                  <td>{printable(type)}</td>
                  <td class="mono">
                    {secret ? (
                      <span aria-label="secret">••••••</span>
                    ) : (
                      printable(value ?? (sizeBytes === null ? '—' : formatSize(sizeBytes)))
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {reading.more > 0 && <p class="detail">and {plural(reading.more, 'key')} more</p>}
    </div>
  );
}

function Files({ reading, path }: { reading: FilesInventory; path: string }) {
  const { partition, kind, entries, more, problems } = reading;
  const hrefOf = (file: string) => `${path}/image?${new URLSearchParams({ partition, path: file }).toString()}`;
  return (
    <div class="card">
      <h3>
        Files in {printable(partition)}
        {kind === null ? '' : ` (${kind})`}
      </h3>
      {problems.map((problem) => (
        <p key={problem} class="detail">
          {printable(problem)}
        </p>
      ))}
      {entries.length === 0 && problems.length === 0 && <p class="detail">There are none.</p>}
      <ul class="files">
        {entries.map((entry) => (
          <li key={entry.path}>
            {entry.isFolder ? (
              <span class="mono">{printable(entry.path)}/</span>
            ) : (
              <a class="mono" href={hrefOf(entry.path)} download>
                {printable(entry.path)}
              </a>
            )}
            {!entry.isFolder && <span class="detail"> {formatSize(entry.sizeBytes)}</span>}
          </li>
        ))}
      </ul>
      {more > 0 && <p class="detail">and {plural(more, 'file')} more</p>}
    </div>
  );
}
