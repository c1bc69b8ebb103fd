// Making one takes longer than using it a hundred times.
const numbers = new Intl.NumberFormat("en");

/** 12345 → "12,345". */
export function count(number: number): string {
  return numbers.format(number);
}

/** 1536 → "1.5 KB". */
export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  const units = ["KB", "MB", "GB"];
  let value = size;
  let unit = -1;
  do {
    value /= 1000;
    unit += 1;
  } while (value >= 999.5 && unit < units.length - 1);
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** 1234 → "1.2 s". */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** The first line of a question, short enough for a list. */
export function titleOf(question: string): string {
  const line = question.trim().split("\n", 1)[0] ?? "";
  const characters = [...line];
  return characters.length > 60 ? `${characters.slice(0, 59).join("").trimEnd()}…` : line;
}

/** Text of a terminal without its control sequences: tracebacks may be coloured. */
export function plain(text: string): string {
  return text.replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g, "");
}

/** The first rows of comma-separated values (RFC 4180), and whether there are more. */
export function csvRows(text: string, maxRows: number, separator = ","): { rows: string[][]; more: boolean } {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = "";
  let quoted = false;
  const body = text.replace(/^\ufeff/, "");
  for (let i = 0; i < body.length; i += 1) {
    const c = body[i] as string;
    if (quoted) {
      if (c !== '"') field += c;
      else if (body[i + 1] === '"') {
        field += '"';
        i += 1;
      } else quoted = false;
    } else if (c === '"' && field === "") quoted = true;
    else if (c === separator) {
      row.push(field);
      field = "";
    } else if (c === "\n" || c === "\r") {
      if (c === "\r" && body[i + 1] === "\n") i += 1;
      rows.push([...row, field]);
      row = [];
      field = "";
      if (rows.length >= maxRows) return { rows, more: i < body.length - 1 };
    } else field += c;
  }
  if (field !== "" || row.length) rows.push([...row, field]);
  return { rows, more: false };
}

/** Whether an address is one of this app's files, which the page may ask for with the key. */
export function isOwnFile(url: string): boolean {
  return ownFileName(url) !== undefined;
}

/** The name of the file that an address of this app leads to, with its folders; nothing for any other address. */
export function ownFileName(url: string): string | undefined {
  const path = /^\/api\/conversations\/[0-9a-f]{32}\/files\/([^?#\\\s]+)$/.exec(url)?.[1];
  // A browser leaves empty and dotted parts out, and the address would lead elsewhere.
  if (!path || path.split("/").some((part) => /^(?:\.|%2e){0,2}$/i.test(part))) return undefined;
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
