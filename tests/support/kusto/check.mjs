// Analyses queries with the language service of Azure Data Explorer: tables and queries as JSON on
// stdin, for each query what is wrong with it as JSON on stdout.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.min.js"); // its .NET runtime; both define globals
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;
const { tables, queries } = JSON.parse(await text(process.stdin));
const symbols = Object.entries(tables).map(([name, columns]) => {
  const schema = Object.entries(columns).map(([column, type]) => `${column}:${type}`);
  return Symbols.TableSymbol.From(`(${schema.join(",")})`).WithName(name);
});
const workspace = new Symbols.DatabaseSymbol.$ctor1("workspace", symbols);
const globals = GlobalState.Default.WithDatabase(workspace);
const report = queries.map((query) => {
  const found = KustoCode.ParseAndAnalyze(query, globals).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, index) => found.getItem(index).Message);
});
console.log(JSON.stringify(report));
