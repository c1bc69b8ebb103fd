import { titleOf } from "./format";
import type { ConversationEntry } from "./types";

const LIST = "conversations";
const NAMES = "names";
const RUNNING = "running";
const DRAFT = "draft";

/*
 * What this browser remembers: the conversations that it started, the names that its user gave them,
 * and the question that ran when the page was last seen. A browser that keeps nothing loses nothing
 * but these. Where people sign in it remembers no conversation: the next one may be somebody else.
 */

function read<T>(storage: Storage, key: string, otherwise: T): T {
  try {
    return (JSON.parse(storage.getItem(key) ?? "null") as T | null) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function write(storage: Storage, key: string, value: unknown): void {
  try {
    storage.setItem(key, JSON.stringify(value));
  } catch {
    // Full, or not allowed.
  }
}

export function isConversationId(text: string): boolean {
  return /^[0-9a-f]{32}$/.test(text);
}

export function startedHere(): ConversationEntry[] {
  return read<ConversationEntry[]>(localStorage, LIST, []).filter((entry) => isConversationId(entry.id));
}

/** Puts a conversation on top of the list, with its first question as its title. */
export function remember(id: string, question: string): void {
  const list = startedHere();
  const title = list.find((entry) => entry.id === id)?.title || titleOf(question);
  const entry = { id, title, updated_at: new Date().toISOString() };
  write(localStorage, LIST, [entry, ...list.filter((known) => known.id !== id)].slice(0, 500));
}

export function forget(id: string): void {
  write(localStorage, LIST, startedHere().filter((entry) => entry.id !== id));
  rename(id, "");
}

export function nameOf(id: string): string | undefined {
  return read<Record<string, string>>(localStorage, NAMES, {})[id];
}

export function rename(id: string, name: string): void {
  const names = read<Record<string, string>>(localStorage, NAMES, {});
  if (name) names[id] = name;
  else delete names[id];
  write(localStorage, NAMES, names);
}

export interface Draft {
  question: string;
  /** Whose it is; null if nobody had signed in when it was asked. */
  of: string | null;
}

/** A question that could not be asked before its author signed in, for when they come back. */
export function setDraft(draft: Draft): void {
  write(sessionStorage, DRAFT, draft);
}

/** The question that waited; never another person's. */
export function takeDraft(who: string | null): string | undefined {
  const draft = read<Draft | undefined>(sessionStorage, DRAFT, undefined);
  sessionStorage.removeItem(DRAFT);
  return draft && (draft.of === null || draft.of === who) ? draft.question : undefined;
}

export interface RunningQuestion {
  id: string;
  question: string;
  askedAt: string;
}

/** The question that runs in this tab, so that a reload can tell what became of it. */
export function setRunning(running: RunningQuestion | undefined): void {
  if (running) write(sessionStorage, RUNNING, running);
  else sessionStorage.removeItem(RUNNING);
}

export function runningQuestion(): RunningQuestion | undefined {
  return read<RunningQuestion | undefined>(sessionStorage, RUNNING, undefined);
}
