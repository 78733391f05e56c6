/**
 * Jobs that a process of its own does (identify, verify, restore, prune), as the API has them: a number, a state that
 * events tell, a plan that waits for a yes, and a result. Writing flash never happens in the daemon's own process.
 */

import type { Clock } from '../clock.ts';
import type { EventBody, JobKind } from '../daemon/event-types.ts';
import type { JobNumbers } from '../daemon/job-numbers.ts';
import { EspdError } from '../errors.ts';
import { type Mac, parseMac } from '../mac.ts';
import { type CloneFacts, CloneResults } from './clone-results.ts';
import { type CommandRequest, type JobArchive, commandOf } from './job-commands.ts';

/** A command that runs elsewhere. */
export interface CommandRun {
  /** Never rejects. `status` undefined = it has not said that it is done. */
  readonly ended: Promise<{ readonly status: number | undefined; readonly error: EspdError | undefined }>;
  answer(id: number, text: string): void;
  /** Ends it as Ctrl-C does. */
  interrupt(): void;
}

export interface CommandListener {
  onProgress(progress: CommandProgress): void;
  /** What it is about to do; the next question is about it. */
  onPlan(plan: unknown): void;
  /** Its JSON document. */
  onResult(document: unknown): void;
  onAsk(id: number, question: string): void;
  /** One of many documents of a command that goes on. */
  onEvent(event: unknown): void;
}

export interface CommandProgress {
  /** Null: at none. */
  readonly port: string | null;
  readonly phase: string;
  readonly mac?: string | undefined;
  readonly doneBytes?: number | undefined;
  readonly totalBytes?: number | undefined;
}

export type StartCommand = (args: readonly string[], listener: CommandListener) => CommandRun;

export interface CommandJobsParts {
  readonly clock: Clock;
  readonly emit: (event: EventBody) => void;
  readonly numbers: JobNumbers;
  readonly start: StartCommand;
}

/** What the API tells of such a job besides what events tell. */
export interface CommandFacts extends Partial<CloneFacts> {
  /** Null until there is one, and for jobs that have none. */
  readonly plan: unknown;
  /** The question that waits for a yes. */
  readonly question: string | null;
  /** The question that was answered with yes: what a report of the job is about. */
  readonly agreed: string | null;
  /** The document of the command. */
  readonly document: unknown;
}

interface CommandJob {
  readonly id: number;
  readonly kind: JobKind;
  /** Its command line, to know it again. */
  readonly line: string;
  run: CommandRun | undefined;
  plan: unknown;
  question: { readonly id: number; readonly text: string } | undefined;
  agreed: string | null;
  document: unknown;
  /** Undefined where it is not for many boards. */
  readonly clones: CloneResults | undefined;
  hasEnded: boolean;
  /** What it was ended by; undefined where nobody wanted that. */
  endedBy: string | undefined;
}

/** At once: each is a process with some 70 MB. */
const MOST_RUNNING = 8;
/** Results are kept for so many. */
const MOST_KEPT = 50;
/** Between two events of progress in the same phase. */
const PROGRESS_MS = 500;

export class CommandJobs {
  readonly #parts: CommandJobsParts;
  readonly #jobs = new Map<number, CommandJob>();

  constructor(parts: CommandJobsParts) {
    this.#parts = parts;
  }

  /**
   * @returns the number of the job, which runs
   * @throws EspdError `archive-unknown-board`, `usage`, `daemon-busy`
   */
  async start(request: CommandRequest, archive: JobArchive): Promise<number> {
    const { args, kind, mac, port } = await commandOf(request, archive);
    const line = args.join('\0');
    // Two who want the same backup fetched wait for one that fetches it.
    const same = [...this.#jobs.values()].find(
      (job) => !job.hasEnded && job.endedBy === undefined && job.line === line,
    );
    if (kind === 'pull' && same !== undefined) return same.id;
    const running = [...this.#jobs.values()].filter(({ hasEnded }) => !hasEnded).length;
    if (running >= MOST_RUNNING) {
      throw new EspdError('daemon-busy', `${MOST_RUNNING} jobs of this kind run already`, { hint: 'Try again later' });
    }
    const { emit, numbers } = this.#parts;
    const job: CommandJob = {
      ...{
        id: numbers.next(),
        kind,
        line,
        run: undefined,
        plan: null,
        question: undefined,
        agreed: null,
        document: null,
      },
      clones: 'many' in request && request.many ? new CloneResults() : undefined,
      ...{ hasEnded: false, endedBy: undefined },
    };
    this.#jobs.set(job.id, job);
    this.#forgetOld();
    emit({ type: 'job-queued', job: job.id, kind, cause: 'request', port, mac, product: null });
    emit({ type: 'job-started', job: job.id, kind, port });
    job.run = this.#parts.start(args, this.#listenerOf(job));
    void job.run.ended.then(({ status, error }) => this.#end(job, mac, port, status, error));
    return job.id;
  }

  facts(id: number): Partial<CommandFacts> {
    const job = this.#jobs.get(id);
    if (job === undefined) return {};
    const { plan, question, agreed, document, clones } = job;
    return { plan, question: question?.text ?? null, agreed, document, ...clones?.facts };
  }

  /** False where the job waits for no yes. */
  confirm(id: number): boolean {
    const job = this.#jobs.get(id);
    if (job?.run === undefined || job.question === undefined) return false;
    job.run.answer(job.question.id, 'yes');
    job.agreed = job.question.text;
    job.question = undefined;
    this.#tellPhase(job, 'confirmed');
    return true;
  }

  /** False where no such job runs. */
  cancel(id: number, why = 'The job was cancelled'): boolean {
    const job = this.#jobs.get(id);
    if (job?.run === undefined || job.hasEnded) return false;
    job.endedBy ??= why;
    job.run.interrupt();
    return true;
  }

  /** Ends all of them; resolves when they have ended. */
  async close(): Promise<void> {
    const running = [...this.#jobs.values()].filter(({ hasEnded }) => !hasEnded);
    for (const { id } of running) this.cancel(id, 'The daemon is stopping');
    await Promise.all(running.flatMap(({ run }) => run?.ended ?? []));
  }

  #listenerOf(job: CommandJob): CommandListener {
    let lastPhase = '';
    let lastMs = -Infinity;
    return {
      onProgress: ({ port, phase, mac, doneBytes, totalBytes }) => {
        const nowMs = this.#parts.clock.now();
        if (phase === lastPhase && nowMs - lastMs < PROGRESS_MS) return;
        [lastPhase, lastMs] = [phase, nowMs];
        const known = mac === undefined ? undefined : parseMac(mac);
        if (phase === 'identified' && known !== undefined && port !== null) {
          this.#parts.emit({ type: 'identified', job: job.id, port, mac: known, chip: null });
          return;
        }
        const bytes = { doneBytes: doneBytes ?? null, totalBytes: totalBytes ?? null };
        this.#parts.emit({ type: 'job-progress', job: job.id, port, phase, ...bytes });
      },
      onPlan: (plan) => {
        job.plan = plan;
      },
      onResult: (document) => {
        job.document = document;
      },
      onEvent: (event) => this.#onEvent(job, event),
      onAsk: (id, text) => {
        job.question = { id, text };
        this.#tellPhase(job, 'confirmation');
      },
    };
  }

  #onEvent(job: CommandJob, event: unknown): void {
    const told = job.clones?.take(event);
    if (told === undefined) return;
    if ('report' in told) job.document = told.report;
    else this.#parts.emit({ type: 'clone-done', job: job.id, ...told.done });
  }

  #tellPhase({ id }: CommandJob, phase: string): void {
    this.#parts.emit({ type: 'job-progress', job: id, port: null, phase, doneBytes: null, totalBytes: null });
  }

  #end(
    job: CommandJob,
    mac: Mac | null,
    port: string | null,
    status: number | undefined,
    fault: EspdError | undefined,
  ): void {
    const { emit } = this.#parts;
    job.hasEnded = true;
    job.question = undefined;
    const { id, kind } = job;
    if (status === 0) {
      emit({ type: 'job-done', job: id, kind, port, mac });
    } else {
      const nothing = job.endedBy === undefined ? unknownError(status) : stoppedError(job.endedBy);
      const told = fault?.toJSON() ?? errorIn(job.document) ?? nothing;
      const isStopped = job.endedBy !== undefined || told.code === 'interrupted';
      const failure = isStopped ? 'stopped' : 'fault';
      const error =
        told.code === 'interrupted'
          ? { ...told, message: job.endedBy ?? told.message, hint: finishIn(job.document) ?? told.hint }
          : told;
      emit({
        ...{ type: 'job-failed', job: id, kind, port, mac, error, failure },
        ...{ isNews: true, retryInMs: null },
      });
    }
    emit({ type: 'job-ended', job: id, kind, port, result: status === 0 ? 'done' : 'failed' });
  }

  #forgetOld(): void {
    for (const [id, { hasEnded }] of this.#jobs) {
      if (this.#jobs.size <= MOST_KEPT) return;
      if (hasEnded) this.#jobs.delete(id);
    }
  }
}

/** The error that a document ends with, as every command writes it. */
function errorIn(document: unknown): ReturnType<EspdError['toJSON']> | undefined {
  if (typeof document !== 'object' || document === null || !('error' in document)) return undefined;
  const { error } = document;
  return typeof error === 'object' && error !== null && 'code' in error
    ? (error as ReturnType<EspdError['toJSON']>)
    : undefined;
}

/** Of a restore that has left its board in the middle: what finishes it. */
function finishIn(document: unknown): string | undefined {
  if (typeof document !== 'object' || document === null || !('halfRestored' in document)) return undefined;
  const half = document.halfRestored as { readonly finish?: unknown } | null;
  return typeof half?.finish === 'string' ? `The board is half restored. Finish with: ${half.finish}` : undefined;
}

function stoppedError(by: string): ReturnType<EspdError['toJSON']> {
  return new EspdError('interrupted', by).toJSON();
}

function unknownError(status: number | undefined): ReturnType<EspdError['toJSON']> {
  return new EspdError('internal', `The command ended with status ${status ?? 'unknown'}`).toJSON();
}
