/** Options and help of `espd prune`, and the policy that they make together with the config. */

import { type Command, InvalidArgumentError } from 'commander';
import type { RetentionPolicy } from '../archive/retention/policy.ts';
import {
  KEEP_KEYS,
  type RetentionSection,
  UNLIMITED,
  parseBudget,
  parseDuration,
  retentionPolicy,
  retentionSchema,
} from '../config/retention.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';

/** What a person gives in the place of the config's policy. */
export type KeepOptions = { readonly [Key in (typeof KEEP_KEYS)[number]]?: string | number } & {
  readonly maxBytes?: string;
};

export interface PruneCommandOptions extends KeepOptions {
  /** MACs or labels; none = all boards. */
  readonly boards: readonly string[];
  readonly dryRun: boolean;
  readonly yes: boolean;
  /** Backups that stay are listed, too, however many there are. */
  readonly all: boolean;
  /** Of the object store, by `store.retention`. */
  readonly store: boolean;
  /** That of the config takes the place of the policy that the object store has. */
  readonly setPolicy: boolean;
  /** Local copies of what is in the object store, by `archive.local`. */
  readonly local: boolean;
}

const HELP = `
A backup stays if one rule keeps it. The rules come from retention in the
config; if one is given here, those given here count instead. Boards and groups
that have rules of their own in the config keep them, unless the board is named
here.

Never removed: the first and the newest backup of a board, what "latest" means,
pinned backups, those that a restore needs or has put on a board and what was
there before, damaged or unreadable ones, and imported ones that no chip has
confirmed. While the clock is behind the newest backup nothing is removed.

With --store the backups of all stations in the object store are meant. What
goes is announced there for store.grace first, so that any station can pin it.
The first yes sets the policy there; a station with another one is refused.`;

function count(text: string): number | string {
  if (text === UNLIMITED) return text;
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError(`Give a whole number, or ${UNLIMITED}.`);
  return Number(text);
}

function duration(text: string): string {
  if (parseDuration(text) === null)
    throw new InvalidArgumentError('A duration has years, months, days and hours in this order, such as 1y5m7d2h.');
  return text;
}

function size(text: string): string {
  if (parseBudget(text) === null) throw new InvalidArgumentError('A size is at least 1M, such as 500M, 50G or 2T.');
  return text;
}

export function addPrune(command: Command): Command {
  return command
    .argument('[boards...]', 'only these boards: MACs or labels')
    .option('--keep-last <n>', 'keep the newest n; n is a number or unlimited, here and below', count)
    .option('--keep-hourly <n>', 'keep the last of each of the newest n hours (UTC) that have a backup', count)
    .option('--keep-daily <n>', 'the same for days', count)
    .option('--keep-weekly <n>', 'the same for weeks, which begin on Monday', count)
    .option('--keep-monthly <n>', 'the same for months', count)
    .option('--keep-yearly <n>', 'the same for years', count)
    .option('--keep-within <duration>', 'keep all that are younger than the newest minus this: 1y5m7d2h', duration)
    .option('--keep-per-firmware <n>', 'keep the newest n of each firmware, by name and version', count)
    .option('--max-bytes <size>', 'remove what no rule keeps only as far as the archive is larger: 50G', size)
    .option('--store', 'of all stations in the object store, by store.retention; announced first', false)
    .option('--set-policy', 'with --store: prune it by this policy from now on, not by the one set there', false)
    .option('--local', 'local copies of what is safe in the object store, by archive.local', false)
    .option('--dry-run', 'show what would go, remove nothing', false)
    .option('--yes', 'do not ask', false)
    .option('--all', 'list the backups that stay, too, however many', false)
    .addHelpText('after', HELP);
}

/** @throws EspdError `usage` where rules are given for what all stations must judge alike */
export function checkNoRules(options: object): void {
  const given = [...KEEP_KEYS, 'maxBytes'].some((name) => name in options);
  if (!given) return;
  throw new EspdError('usage', 'With --store or --local the rules are those of the config', {
    hint: 'Leave out --keep... and --max-bytes; set store.retention or archive.local in the config',
  });
}

/**
 * The policy of the config, or that of the command line.
 * @param named boards that the person has named
 * @throws EspdError `usage` where the options would keep nothing
 */
export function policyFor(section: RetentionSection, options: KeepOptions, named: readonly Mac[]): RetentionPolicy {
  const given = Object.entries(options).filter(([key]) => [...KEEP_KEYS, 'maxBytes'].some((name) => name === key));
  if (given.length === 0) return retentionPolicy(section);
  const result = retentionSchema.safeParse(Object.fromEntries(given));
  if (!result.success) {
    throw new EspdError('usage', 'This policy would keep nothing', {
      hint: 'Give at least one --keep option more than 0. What is never removed would be all that is left',
    });
  }
  const policy = retentionPolicy(result.data);
  if (named.length > 0) return policy;
  const { boards, groups } = retentionPolicy(section);
  return { ...policy, boards, groups };
}
