// Makes zod.min.js: one script that sets `globalThis.__zod` to everything zod exports.
//
//   npm install --no-save --save-exact zod@4.1.8 esbuild@0.25.10 && node make.mjs
//
// Without the message catalogues of other languages than English: with them it is four times as large.
import { build } from "esbuild";

const onlyEnglish = {
  name: "only English",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\.\/locales\/index\.js$/ }, ({ resolveDir }) => ({ path: `${resolveDir}/../locales`, namespace: "english" }));
    onLoad({ filter: /.*/, namespace: "english" }, ({ path }) => ({ contents: `export { default as en } from "./en.js";`, resolveDir: path }));
  },
};

await build({
  stdin: { contents: `import * as all from "zod"; globalThis.__zod = all;`, resolveDir: "." },
  bundle: true,
  format: "iife",
  target: "es2022",
  minify: true,
  legalComments: "none",
  charset: "utf8",
  plugins: [onlyEnglish],
  outfile: "zod.min.js",
});
