// What the API sends; the same names as in /api/openapi.json.

export interface FileEntry {
  name: string;
  media_type: string;
  size_bytes: number;
  /** Where the content is: an address of this app, or a data: URL that holds it. */
  url: string;
}

export type Output =
  | { type: "text"; media_type: string; text: string }
  | { type: "image"; media_type: string; file: string }
  | { type: "html"; media_type: string; text: string; file?: string };

export interface Execution {
  code: string;
  status: "Succeeded" | "Failed";
  stdout: string;
  stderr: string;
  result: string | null;
  duration_ms: number;
  outputs?: Output[];
}

/** One call of a tool of the app's own. */
export interface ToolUse {
  name: string;
  arguments: Record<string, unknown>;
  status: "Succeeded" | "Failed";
  result: string;
  duration_ms: number;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

export interface Warning {
  code: string;
  message: string;
}

export interface StoredTurn {
  input: string;
  output: string;
  executions: Execution[];
  /** Not in turns of older apps. */
  tool_calls?: ToolUse[];
  files: FileEntry[];
  usage: Usage;
  finish_reason: string;
  warnings: Warning[];
  asked_at: string;
  /** Files that belonged to the question as pictures. */
  images?: string[];
}

export interface Conversation {
  id: string;
  created_at: string;
  turns: StoredTurn[];
  earlier_turns: number;
}

export interface ConversationEntry {
  id: string;
  title: string;
  updated_at: string;
}

export interface Capabilities {
  model: string;
  code_interpreter: boolean;
  conversations: boolean;
  vision: boolean;
  sign_in: boolean;
  signed_in_as: string | null;
}

export interface ProblemBody {
  code: string;
  status: number;
  title: string;
  detail: string;
  operation_id?: string;
}
