import type { Capabilities, Conversation, ConversationEntry, FileEntry, ProblemBody } from "./types";
import { signInRequired } from "./access";
import { isOwnFile } from "./format";
import { readEvents } from "./sse";

const KEY_NAME = "functions-key";

/** An error of the app, or of the way to it. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    readonly status: number,
    detail: string,
    readonly operationId?: string,
  ) {
    super(detail);
  }
}

/** How somebody gets in after a 401. */
export interface WayIn {
  /** True once there is a new function key to try. */
  askForKey(): Promise<boolean>;
  /** Nobody is signed in, or not any more. */
  askToSignIn(): void;
}

/** The code of the error for whoever must sign in first; the app's own is the same. */
export const SIGN_IN_REQUIRED = "SignInRequired";

/**
 * The app's HTTP API. The function key is in the memory of this object and in a header of the
 * requests; in no URL, and in the tab's storage only if that was asked for.
 */
export class Api {
  #key = sessionStorage.getItem(KEY_NAME) ?? "";
  #asking: Promise<boolean> | undefined;

  constructor(private readonly wayIn: WayIn) {}

  setKey(key: string, keepForTab: boolean): void {
    this.#key = key;
    if (keepForTab) sessionStorage.setItem(KEY_NAME, key);
    else sessionStorage.removeItem(KEY_NAME);
  }

  get hasKey(): boolean {
    return this.#key !== "";
  }

  capabilities(): Promise<Capabilities> {
    return this.#json("GET", "/api/capabilities");
  }

  conversations(cursor?: string): Promise<{ conversations: ConversationEntry[]; next_cursor: string | null }> {
    const query = new URLSearchParams({ limit: "50", ...(cursor ? { cursor } : {}) });
    return this.#json("GET", `/api/conversations?${query}`);
  }

  newConversation(): Promise<{ id: string }> {
    return this.#json("POST", "/api/conversations");
  }

  conversation(id: string): Promise<Conversation> {
    return this.#json("GET", `/api/conversations/${id}`);
  }

  async deleteConversation(id: string): Promise<void> {
    await this.#fetch("DELETE", `/api/conversations/${id}`);
  }

  async files(id: string): Promise<FileEntry[]> {
    return (await this.#json<{ files: FileEntry[] }>("GET", `/api/conversations/${id}/files`)).files;
  }

  async deleteFile(file: FileEntry): Promise<void> {
    await this.#fetch("DELETE", checked(file.url));
  }

  /** The content of a file; `maxBytes` of it where the rest is of no use. */
  async content(file: FileEntry, maxBytes = Infinity): Promise<Uint8Array<ArrayBuffer>> {
    if (file.url.startsWith("data:")) return decodeDataUrl(file.url);
    const response = await this.#fetch("GET", checked(file.url));
    if (maxBytes === Infinity) return new Uint8Array(await response.arrayBuffer());
    return firstBytes(response, maxBytes);
  }

  /** Asks, and yields AG-UI events; aborting the signal ends the run itself. */
  async *ask(input: string, images: string[], conversationId: string | undefined, signal: AbortSignal): AsyncGenerator<unknown> {
    const body = JSON.stringify({
      input,
      ...(images.length ? { images } : {}),
      ...(conversationId ? { conversation_id: conversationId } : {}),
    });
    const response = await this.#fetch("POST", "/api/chat", {
      body,
      signal,
      headers: { accept: "text/event-stream", "content-type": "application/json" },
    });
    if (response.body) yield* readEvents(response.body);
  }

  /** Uploads one file and tells what it is called; `fetch` does not tell how far an upload is, XMLHttpRequest does. */
  upload(id: string, file: File, progress: (share: number) => void, signal: AbortSignal): Promise<string> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", `/api/conversations/${id}/files`);
      if (this.#key) request.setRequestHeader("x-functions-key", this.#key);
      request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
      request.onload = () => {
        if (request.status < 300) resolve((JSON.parse(request.responseText) as { files: FileEntry[] }).files[0]?.name ?? file.name);
        else reject(this.#refusal(request.status, request.responseText));
      };
      request.onerror = () => reject(unreachable());
      request.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
      signal.addEventListener("abort", () => request.abort());
      const form = new FormData();
      form.append("file", file, file.name);
      request.send(form);
    });
  }

  async #json<T>(method: string, path: string): Promise<T> {
    return (await (await this.#fetch(method, path)).json()) as T;
  }

  async #fetch(method: string, path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> {
    for (;;) {
      const key = this.#key;
      const headers = { ...init.headers, ...(key ? { "x-functions-key": key } : {}) };
      let response: Response;
      try {
        response = await fetch(path, { ...init, method, headers, credentials: "same-origin", redirect: "error", cache: "no-store" });
      } catch (error) {
        if (init.signal?.aborted) throw error;
        throw unreachable();
      }
      if (response.ok) return response;
      const refusal = this.#refusal(response.status, await response.text());
      if (refusal.status !== 401 || refusal.code === SIGN_IN_REQUIRED) throw refusal;
      // Several requests may be refused at once: one question is enough.
      this.#asking ??= this.wayIn.askForKey().finally(() => (this.#asking = undefined));
      const again = key !== this.#key || (await this.#asking);
      if (!again || init.signal?.aborted) throw refusal;
    }
  }

  #refusal(status: number, text: string): ApiError {
    const refusal = problem(status, text);
    // The platform refuses strangers with an answer of its own.
    if (status !== 401 || !(signInRequired() || refusal.code === SIGN_IN_REQUIRED)) return refusal;
    this.wayIn.askToSignIn();
    return new ApiError(SIGN_IN_REQUIRED, status, "Sign in to go on.", refusal.operationId);
  }
}

function checked(url: string): string {
  // Only a file of this app is asked for with the key, whatever a tool result says.
  if (!isOwnFile(url)) throw new ApiError("NotAFile", 0, "The address is not one of this app's files.");
  return url;
}

function unreachable(): ApiError {
  return new ApiError("Unreachable", 0, "The app cannot be reached. Check the connection, then try again.");
}

function problem(status: number, text: string): ApiError {
  try {
    const body = JSON.parse(text) as ProblemBody;
    if (body.code && body.detail) return new ApiError(body.code, status, body.detail, body.operation_id);
  } catch {
    // The host's own answers have no body, and a proxy's are HTML.
  }
  const what = status === 401 ? "The app does not know this key." : `The app answered with status ${status}.`;
  return new ApiError(`HTTP ${status}`, status, what);
}

async function firstBytes(response: Response, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const reader = response.body?.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (reader && length < maxBytes) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    length += value.length;
  }
  await reader?.cancel().catch(() => undefined);
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all.subarray(0, maxBytes);
}

/** The bytes of a data: URL; fetching it would need a hole in the Content-Security-Policy. */
export function decodeDataUrl(url: string): Uint8Array<ArrayBuffer> {
  const comma = url.indexOf(",");
  const body = url.slice(comma + 1);
  if (!/;base64$/i.test(url.slice(0, comma))) return new TextEncoder().encode(decodeURIComponent(body));
  const binary = atob(body);
  const content = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) content[i] = binary.charCodeAt(i);
  return content;
}
