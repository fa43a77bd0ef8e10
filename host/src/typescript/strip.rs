//! From TypeScript to JavaScript: types off, enums and parameter properties written out, imports checked.
//!
//! Nothing else is changed: the runtime speaks the newest JavaScript. The map
//! of lines goes with it, so that an error at run time names the author's line.

use super::{Invalid, place::Place, wishes};
use crate::sandbox::RequestedCapability;
use oxc_allocator::Allocator;
use oxc_ast::ast::{
    ExportAllDeclaration, ExportFromDeclaration, Expression, ImportDeclaration, ImportExpression, Program,
    StringLiteral,
};
use oxc_ast_visit::{Visit, walk};
use oxc_codegen::{Codegen, CodegenOptions};
use oxc_diagnostics::OxcDiagnostic;
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_span::SourceType;
use oxc_transformer::{TransformOptions, Transformer};
use std::path::{Path, PathBuf};

/// A file, ready for the runtime.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Stripped {
    /// JavaScript.
    pub(super) code: String,
    /// Line and column in `code`, line and column in the file, all from 0, and so on.
    pub(super) lines: Vec<u32>,
    /// What the file seems to want.
    pub(super) wishes: Vec<RequestedCapability>,
    /// The secrets it names.
    pub(super) secrets: Vec<String>,
}

/// What a tool can import.
const MODULES: [&str; 10] = [
    "@opencode-ai/plugin",
    "@opencode-ai/plugin/tool",
    "zod",
    "zod/v4",
    FILES[0],
    FILES[1],
    "node:path",
    "path",
    "node:path/posix",
    "path/posix",
];

/// What reads and writes the files of a session.
pub(super) const FILES: [&str; 2] = ["node:fs/promises", "fs/promises"];

/// Reads a file.
pub(super) fn strip(file: &str, source: &str) -> Result<Stripped, Invalid> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, source, source_type()).parse();
    refuse_errors(file, source, &parsed.diagnostics, "this is not TypeScript")?;
    let mut program = parsed.program;

    let analysed = SemanticBuilder::new().with_check_syntax_error(true).with_enum_eval(true).build(&program);
    refuse_errors(file, source, &analysed.diagnostics, "this is not TypeScript")?;
    let scoping = analysed.semantic.into_scoping();
    let transformed = Transformer::new(&allocator, Path::new(file), &TransformOptions::default())
        .build_with_scoping(scoping, &mut program);
    refuse_errors(file, source, &transformed.diagnostics, "this TypeScript cannot be made JavaScript")?;

    check_imports(file, source, &program)?;
    let found = wishes::read(source, &program);
    let options = CodegenOptions { source_map_path: Some(PathBuf::from(file)), ..CodegenOptions::default() };
    let generated = Codegen::new().with_options(options).with_source_text(source).build(&program);
    let tokens = generated.map.iter().flat_map(|map| map.get_tokens());
    let place = |token: oxc_sourcemap::Token| {
        [token.get_dst_line(), token.get_dst_col(), token.get_src_line(), token.get_src_col()]
    };
    let lines = tokens.filter(|token| token.get_source_id().is_some()).flat_map(place).collect();
    Ok(Stripped { code: generated.code, lines, wishes: found.wishes, secrets: found.secrets })
}

/// A tool is a module in TypeScript; a file called `.js` by its author is read the same way.
fn source_type() -> SourceType {
    SourceType::ts().with_module(true)
}

fn refuse_errors(
    file: &str,
    source: &str,
    found: &[OxcDiagnostic],
    what: &'static str,
) -> Result<(), Invalid> {
    let Some(first) = found.first() else { return Ok(()) };
    let offset = first.labels.first().map_or(0, |label| label.offset() as usize);
    let help = first.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    let why = format!("{what}: {}{help}", first.message);
    Err(Invalid { why, place: Some(Place::at(file, source, offset)) })
}

// --- imports ---

/// Refuses what the runtime does not have, with what to do instead. Types were taken out before.
fn check_imports(file: &str, source: &str, program: &Program<'_>) -> Result<(), Invalid> {
    let mut imports = Imports(vec![]);
    imports.visit_program(program);
    let Some((module, offset)) =
        imports.0.into_iter().find(|(module, _)| !MODULES.contains(&module.as_str()))
    else {
        return Ok(());
    };
    let why = format!(
        "`{module}` cannot be imported: there are @opencode-ai/plugin and zod, node:fs/promises and node:path, and the globals of the web such as fetch, URL and crypto; {}",
        instead_of(&module)
    );
    Err(Invalid { why, place: Some(Place::at(file, source, offset)) })
}

struct Imports(Vec<(String, usize)>);

impl Imports {
    fn add(&mut self, module: &StringLiteral<'_>) {
        self.0.push((module.value.to_string(), module.span.start as usize));
    }
}

impl<'a> Visit<'a> for Imports {
    fn visit_import_declaration(&mut self, import: &ImportDeclaration<'a>) {
        self.add(&import.source);
    }

    fn visit_export_all_declaration(&mut self, export: &ExportAllDeclaration<'a>) {
        self.add(&export.source);
    }

    fn visit_export_from_declaration(&mut self, export: &ExportFromDeclaration<'a>) {
        self.add(&export.source);
    }

    fn visit_import_expression(&mut self, import: &ImportExpression<'a>) {
        if let Expression::StringLiteral(module) = &import.source {
            self.add(module);
        }
        walk::walk_import_expression(self, import);
    }
}

fn instead_of(module: &str) -> &'static str {
    match module.strip_prefix("node:").unwrap_or(module) {
        "fs" => "use node:fs/promises, for the files of the session",
        "os" | "child_process" | "bun" | "worker_threads" => "a tool has no machine and no processes",
        "crypto" => "use crypto.randomUUID() and crypto.getRandomValues()",
        "buffer" => "use Uint8Array, TextEncoder, TextDecoder, atob and btoa",
        "util" => "use TextEncoder, TextDecoder and structuredClone, which are there without import",
        "url" | "querystring" => "use URL and URLSearchParams, which are there without import",
        "timers" | "timers/promises" => "use setTimeout, which is there without import",
        "http" | "https" | "net" | "axios" | "node-fetch" | "undici" | "got" | "ky" => {
            "use fetch, which is there without import"
        }
        "process" => "use process.env, which is there without import",
        local if local.starts_with(['.', '/']) => {
            "one file is uploaded: put both into one, by hand or with `npx esbuild tool.ts --bundle --format=esm --external:zod --external:@opencode-ai/plugin`"
        }
        remote if remote.starts_with("http") => "nothing is loaded from the network: put it into the file",
        _ => {
            "bundle a package into the file: `npx esbuild tool.ts --bundle --format=esm --external:zod --external:@opencode-ai/plugin`"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> (String, u32) {
        let invalid = strip("a.ts", source).unwrap_err();
        (invalid.why, invalid.place.unwrap().line)
    }

    #[test]
    fn types_go_and_everything_else_stays() {
        let source = "interface A { a: string }\nenum E { One = 1, Two }\nclass P { constructor(private readonly a: number) {} get(): number { return this.a!; } }\nexport const x = <T,>(y: T): T => y satisfies unknown;\nexport type { A };";
        let stripped = strip("a.ts", source).unwrap();
        for gone in ["interface", "private", "satisfies", "export type"] {
            assert!(!stripped.code.contains(gone), "{}", stripped.code);
        }
        assert!(stripped.code.contains("this.a = a"), "{}", stripped.code);
        assert!(stripped.code.contains("E[E[\"One\"] = 1]"), "{}", stripped.code);
        assert_eq!(stripped.lines.len() % 4, 0);
    }

    #[test]
    fn what_is_no_typescript_is_refused_at_its_line() {
        assert_eq!(refused("const a = 1;\nconst b: = 2;").1, 2);
        assert_eq!(refused("const a = 1;\nlet a = 2;\n").1, 1, "declared twice, shown at the first");
        assert!(refused("export default {").0.starts_with("this is not TypeScript: "));
        assert_eq!(refused("\n\n@decorated class A {}\nawait 1; return 2").1, 4);
    }

    #[test]
    fn an_import_that_is_not_there_is_refused_with_what_is() {
        for (import, says) in [
            ("import fs from 'node:fs';", "node:fs/promises, for"),
            ("import os from 'os';", "no machine"),
            ("import axios from 'axios';", "use fetch"),
            ("import { x } from './other';", "one file is uploaded"),
            ("import _ from 'lodash'; _.a", "bundle"),
            ("export * from 'left-pad';", "bundle"),
            ("const x = await import('node:crypto');", "randomUUID"),
        ] {
            let used = format!("\n{import}\nexport default [typeof fs, typeof axios, typeof os, typeof x]");
            let (why, line) = refused(&used);
            assert!(why.contains(says) && why.contains("@opencode-ai/plugin and zod"), "{why}");
            assert_eq!(line, 2, "{import}");
        }
    }

    #[test]
    fn an_import_of_types_alone_is_none() {
        assert!(strip("a.ts", "import { readFile } from 'node:fs/promises';\nimport p from 'path';\nexport const x = [readFile, p];").is_ok());
        let source = "import type { A } from './a';\nimport { B } from 'b';\nimport { tool, type ToolContext } from '@opencode-ai/plugin';\nimport * as z from 'zod/v4';\nexport const x = (a: A, b: B, c: ToolContext) => [tool, z];";
        assert!(strip("a.ts", source).is_ok());
    }
}
