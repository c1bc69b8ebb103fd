import type { Api } from "./api";
import { highlighted } from "./code";
import { h, icon, iconButton } from "./dom";
import { bytes, csvRows } from "./format";
import { htmlFrame, tablesOf } from "./markdown";
import type { FileEntry } from "./types";

// What an <img> shows; a file that says it is something else is offered for download.
const IMAGES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/svg+xml"]);
const PREVIEW_MAX_BYTES = 256 * 1024;
const IMAGE_MAX_BYTES = 32 * 1024 * 1024;
const PREVIEW_ROWS = 50;
const PREVIEW_CHARS = 50_000;

export function isImage(file: FileEntry): boolean {
  return IMAGES.has(typeOf(file)) && file.size_bytes <= IMAGE_MAX_BYTES;
}

function typeOf(file: FileEntry): string {
  return (file.media_type.split(";")[0] ?? "").trim().toLowerCase();
}

function extension(file: FileEntry): string {
  return /\.(\w+)$/.exec(file.name)?.[1]?.toLowerCase() ?? "";
}

function base64(content: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < content.length; at += 32_768) {
    binary += String.fromCharCode(...content.subarray(at, at + 32_768));
  }
  return btoa(binary);
}

/** Addresses of pictures by file address: each is asked for once as long as the page is open. */
const pictures = new Map<string, Promise<string>>();

async function pictureUrl(api: Api, file: FileEntry): Promise<string> {
  const content = await api.content(file);
  // As a document of its own an SVG could run scripts; from a data: URL no browser opens it as one.
  if (typeOf(file) === "image/svg+xml") return `data:image/svg+xml;base64,${base64(content)}`;
  return URL.createObjectURL(new Blob([content], { type: typeOf(file) }));
}

export function forgetPicture(url: string): void {
  pictures.delete(url);
}

function addressOf(api: Api, file: FileEntry): Promise<string> {
  let url = pictures.get(file.url);
  if (!url) {
    url = pictureUrl(api, file);
    pictures.set(file.url, url);
    url.catch(() => pictures.delete(file.url));
  }
  return url;
}

/** A picture of a question: small, and whole when it is clicked. */
export function thumbnail(api: Api, file: FileEntry): HTMLElement {
  const image = h("img", { alt: file.name, decoding: "async" });
  const button = h("button", { type: "button", class: "thumbnail", title: file.name, onclick: () => void preview(api, file) }, image);
  addressOf(api, file).then(
    (address) => (image.src = address),
    () => image.replaceWith(h("span", { class: "file-name", dir: "auto" }, file.name)),
  );
  return button;
}

/** A figure in its place, with its name and a download button below. */
export function figure(api: Api, file: FileEntry): HTMLElement {
  const image = h("img", { alt: file.name, decoding: "async" });
  const caption = h(
    "figcaption",
    {},
    h("span", { class: "file-name", dir: "auto" }, file.name),
    iconButton("download", `Download ${file.name}`, () => void download(api, file)),
  );
  const element = h("figure", { class: "figure loading" }, image, caption);
  addressOf(api, file).then(
    (address) => {
      image.src = address;
      image.onload = image.onerror = () => element.classList.remove("loading");
    },
    (error: Error) => {
      element.classList.remove("loading");
      image.replaceWith(h("p", { class: "note error-text" }, `${file.name}: ${error.message}`));
    },
  );
  return element;
}

/** A file as a line: name, size, preview, download, and delete where that is possible. */
export function fileRow(api: Api, file: FileEntry, onDelete?: () => void): HTMLElement {
  return h(
    "div",
    { class: "file-row" },
    icon("file"),
    h(
      "button",
      { type: "button", class: "file-open", onclick: () => void preview(api, file) },
      h("span", { class: "hidden-text" }, "Preview "),
      h("span", { class: "file-name", dir: "auto" }, file.name),
      file.size_bytes > 0 && h("span", { class: "file-size" }, bytes(file.size_bytes)),
    ),
    iconButton("download", `Download ${file.name}`, () => void download(api, file)),
    onDelete && iconButton("delete", `Delete ${file.name}`, onDelete),
  );
}

export async function download(api: Api, file: FileEntry): Promise<void> {
  try {
    const content = await api.content(file);
    // As bytes: the browser must save it and never show it as a page of this origin.
    const url = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
    h("a", { href: url, download: file.name.split("/").at(-1) ?? file.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    showDialog(file.name, h("p", { class: "error-text" }, (error as Error).message));
  }
}

/** Shows what a file looks like in a dialog. */
export async function preview(api: Api, file: FileEntry): Promise<void> {
  const body = h("div", { class: "preview", tabindex: 0, role: "region", "aria-label": `Content of ${file.name}` }, h("p", { class: "note" }, "Loading…"));
  showDialog(file.name, body, iconButton("download", `Download ${file.name}`, () => void download(api, file)));
  try {
    body.replaceChildren(...(await contentView(api, file)));
  } catch (error) {
    body.replaceChildren(h("p", { class: "error-text" }, (error as Error).message));
  }
}

async function contentView(api: Api, file: FileEntry): Promise<Node[]> {
  if (isImage(file)) return [figure(api, file)];
  const content = await api.content(file, PREVIEW_MAX_BYTES);
  const cut = content.length < file.size_bytes;
  const text = decodeText(content, cut);
  if (text === undefined) return [h("p", { class: "note" }, `${file.media_type || "Binary"}: there is no preview. Download it to open it.`)];
  const note = cut && h("p", { class: "note" }, `The first ${bytes(content.length)} of ${bytes(file.size_bytes)}.`);
  return [...textView(file, text), ...(note ? [note] : [])];
}

function textView(file: FileEntry, text: string): Node[] {
  const kind = extension(file);
  if (kind === "csv" || kind === "tsv") return [csvTable(text, kind === "tsv" ? "\t" : undefined)];
  if (kind === "html" || kind === "htm" || typeOf(file) === "text/html") {
    const tables = tablesOf(text);
    return tables.length ? tables : [htmlFrame(text, file.name)];
  }
  if (kind === "json" || typeOf(file) === "application/json") return [pre(prettyJson(text), "json")];
  return [pre(text, { py: "python", sh: "bash" }[kind] ?? kind)];
}

function csvTable(text: string, separator?: string): HTMLElement {
  const first = text.split("\n", 1)[0] ?? "";
  // Spreadsheets of many countries separate by semicolons.
  const by = separator ?? (first.split(";").length > first.split(",").length ? ";" : ",");
  const { rows, more } = csvRows(text, PREVIEW_ROWS + 1, by);
  const [head = [], ...body] = rows;
  return h(
    "div",
    {},
    h(
      "div",
      { class: "table-frame", tabindex: 0, role: "group", "aria-label": "First rows" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, ...head.map((cell) => h("th", { scope: "col", dir: "auto" }, cell || " ")))),
        h("tbody", {}, ...body.map((row) => h("tr", {}, ...row.map((cell) => h("td", { dir: "auto" }, cell))))),
      ),
    ),
    more && h("p", { class: "note" }, `The first ${PREVIEW_ROWS} rows.`),
  );
}

function pre(text: string, language: string): HTMLElement {
  const shown = text.slice(0, PREVIEW_CHARS);
  return h("pre", { class: "plain", dir: "auto" }, highlighted(shown + (shown.length < text.length ? "\n…" : ""), language));
}

function prettyJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function decodeText(content: Uint8Array, cut: boolean): string | undefined {
  try {
    // A character that the cut went through is no sign of binary content.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(content, { stream: cut });
    return text.includes("\0") ? undefined : text;
  } catch {
    return undefined;
  }
}

function showDialog(title: string, body: HTMLElement, ...actions: HTMLElement[]): void {
  const dialog = h("dialog", { class: "dialog wide", "aria-label": title });
  dialog.append(
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { dir: "auto" }, title),
      ...actions,
      iconButton("close", "Close", () => dialog.close()),
    ),
    body,
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
}
