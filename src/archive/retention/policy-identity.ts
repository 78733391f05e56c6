/** When two policies mean the same, and one in a few words; for those who must agree on one. Pure. */

import { createHash } from 'node:crypto';
import { labelKey } from '../marks/label-key.ts';
import { type KeepRules, type RetentionPolicy, rulesText } from './policy.ts';

/**
 * SHA-256 of the policy in the one form that FORMAT.md (Removing from a bucket) gives it. A rule that keeps nothing is left out,
 * so a rule that a later espd adds changes no digest of those who do not use it.
 */
export function policyDigest({ rules, boards, groups, maxBytes }: RetentionPolicy): string {
  const form = [rules === null ? null : rulesForm(rules), overridesForm(boards), overridesForm(groups), maxBytes];
  return createHash('sha256').update(JSON.stringify(form)).digest('hex');
}

/** In the words of the config, without names of boards and groups. */
export function policyText({ rules, boards, groups, maxBytes }: RetentionPolicy): string {
  const own = [counted(boards.size, 'board'), counted(groups.size, 'group')].flat().join(' and ');
  return [
    rules === null ? 'no rule for all boards' : rulesText(rules),
    ...(maxBytes === null ? [] : [`maxBytes ${maxBytes}`]),
    ...(own === '' ? [] : [`rules of their own for ${own}`]),
  ].join(', ');
}

function counted(count: number, what: string): string[] {
  return count === 0 ? [] : [`${count} ${what}${count === 1 ? '' : 's'}`];
}

function overridesForm(overrides: ReadonlyMap<string, KeepRules>) {
  // By the key that they are found by; of two the later one counts, as there.
  const byKey = new Map([...overrides].map(([name, rules]) => [labelKey(name), rules]));
  return [...byKey].sort(([one], [other]) => (one < other ? -1 : 1)).map(([key, rules]) => [key, rulesForm(rules)]);
}

function rulesForm({ within, ...counts }: KeepRules) {
  const months = within === null ? 0 : within.years * 12 + within.months;
  const hours = within === null ? 0 : within.days * 24 + within.hours;
  const kept = Object.entries(counts).filter(([, count]) => count > 0);
  return [
    ...kept.map(([name, count]): [string, unknown] => [name, count === Infinity ? 'unlimited' : count]),
    ...(months + hours === 0 ? [] : [['within', [months, hours]] as [string, unknown]]),
  ].sort(([one], [other]) => (one < other ? -1 : 1));
}
