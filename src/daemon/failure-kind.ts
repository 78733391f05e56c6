/** How bad a failure at a port is: what the log, the metrics and whoever is told make of it. */

import type { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { PortInfo } from '../serial/ports.ts';
import { type PortRules, decide } from '../serial/rules.ts';
import type { FailureKind } from './event-types.ts';

export interface FailedPort {
  readonly port: PortInfo;
  /** Undefined when no board had answered yet. */
  readonly mac: Mac | undefined;
  readonly rules: PortRules;
  /** It is tried again by itself. */
  readonly isRetried: boolean;
}

export function failureKind({ code }: EspdError, { port, mac, rules, isRetried }: FailedPort): FailureKind {
  if (code === 'interrupted') return 'stopped';
  // Silence of something that was only perhaps a board is no fault.
  if (code === 'no-answer' && mac === undefined && decide(port, rules).known === 'bridge') return 'silent';
  // Whoever has it may have good reason, and is often done in seconds: ModemManager looks at each new port.
  if (code === 'port-busy' && isRetried) return 'passing';
  // No fault of this job; but somebody must finish what they began.
  if (code === 'half-restored') return 'passing';
  return 'fault';
}
