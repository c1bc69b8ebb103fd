// Builds the page: node build.mjs [FOLDER]. The same sources give the same bytes on any machine.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? join(here, "../agent/http/page/dist"));

const built = await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.ts", style: "src/style.css" },
  bundle: true,
  minify: true,
  write: false,
  outdir: "/",
  format: "esm",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "eof",
  logLevel: "warning",
});

rmSync(target, { recursive: true, force: true });
mkdirSync(target, { recursive: true });
let html = readFileSync(join(here, "src/index.html"), "utf8");
for (const { path, contents } of built.outputFiles) {
  const [, name, type] = /(\w+)\.(\w+)$/.exec(path);
  // The address says what is in it, so a browser may keep it for ever; the path stays what infra/ names.
  const version = createHash("sha256").update(contents).digest("hex").slice(0, 12);
  writeFileSync(join(target, `${name}.${type}`), contents);
  html = html.replace(`/api/ui/${name}.${type}`, `/api/ui/${name}.${type}?v=${version}`);
}
writeFileSync(join(target, "index.html"), html);
