//! What a file seems to want to reach, read off its text.
//!
//! An opencode file declares nothing, so the hosts and secrets it names stand
//! for what it wants: a person reviews them, each with its line. It is a
//! reading, not a proof: what was overlooked is refused when the tool is run,
//! and the file can say for itself, with `export const capabilities`.

use super::{limits::WISHES_MAX, place::Place, strip::FILES};
use crate::{
    grants::{Capability, CapabilityKind},
    sandbox::RequestedCapability,
    secrets,
};
use oxc_ast::ast::{
    BindingPattern, ComputedMemberExpression, ExportAllDeclaration, ExportFromDeclaration, Expression,
    ImportDeclaration, ImportDeclarationSpecifier, ImportExpression, Program, StaticMemberExpression,
    StringLiteral, TemplateLiteral, VariableDeclarator,
};
use oxc_ast_visit::{Visit, walk};
use std::collections::BTreeMap;
use url::Url;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) wishes: Vec<RequestedCapability>,
    /// Names of secrets, whether or not a host is known for them.
    pub(super) secrets: Vec<String>,
}

/// Variables programs look up by habit: no secrets.
const HABITS: [&str; 6] = ["NODE_ENV", "DEBUG", "NO_COLOR", "HOME", "PATH", "CI"];

/// Functions of `node:fs/promises` that change nothing.
const LOOKING: [&str; 5] = ["readFile", "readdir", "stat", "lstat", "access"];

/// Hosts that stand in names of formats, and are never called.
const NAMES_OF_FORMATS: [&str; 4] = ["www.w3.org", "json-schema.org", "schemas.xmlsoap.org", "schema.org"];

/// Reads a program whose types are gone.
pub(super) fn read(source: &str, program: &Program<'_>) -> Found {
    let mut reader = Reader::default();
    reader.visit_program(program);
    let line = |offset: u32| Place::at("", source, offset as usize).line;
    let mut wishes = vec![];
    let mut wish = |kind: CapabilityKind, target: String, reason: String| {
        let fits = Capability::new(kind, target.clone()).canonical().is_ok();
        if fits && wishes.len() < WISHES_MAX {
            wishes.push(RequestedCapability { kind: kind.name().to_owned(), target, reason });
        }
    };
    for (host, at) in &reader.hosts {
        wish(CapabilityKind::Http, host.clone(), format!("Line {} names this host.", line(*at)));
    }
    for (name, at) in &reader.secrets {
        for host in reader.hosts.keys().filter(|host| *host != "*") {
            let reason =
                format!("Line {} reads `process.env.{name}`; it can be sent to this host.", line(*at));
            wish(CapabilityKind::Secret, format!("{name}@{host}"), reason);
        }
    }
    if let Some((module, writes, at)) = &reader.files {
        let target = if *writes { "read-write" } else { "read" };
        let reason = format!("Line {} imports `{module}`.", line(*at));
        wish(CapabilityKind::Workspace, target.to_owned(), reason);
    }
    Found { wishes, secrets: reader.secrets.into_keys().collect() }
}

/// Each with the first place it stands at.
#[derive(Default)]
struct Reader {
    hosts: BTreeMap<String, u32>,
    secrets: BTreeMap<String, u32>,
    /// The module of files, whether more than looking is imported from it, and where.
    files: Option<(String, bool, u32)>,
}

impl Reader {
    fn files(&mut self, module: &StringLiteral<'_>, only_looks: bool) {
        if FILES.contains(&module.value.as_str()) {
            let writes = self.files.as_ref().is_some_and(|(_, writes, _)| *writes);
            let at = self.files.as_ref().map_or(module.span.start, |(_, _, at)| *at);
            self.files = Some((module.value.to_string(), writes || !only_looks, at));
        }
    }

    fn host(&mut self, host: Option<String>, at: u32) {
        if let Some(host) = host.filter(|host| !NAMES_OF_FORMATS.contains(&host.as_str())) {
            self.hosts.entry(host).or_insert(at);
        }
    }

    fn secret(&mut self, name: &str, at: u32) {
        if secrets::is_name(name) && !HABITS.contains(&name) {
            self.secrets.entry(name.to_owned()).or_insert(at);
        }
    }
}

/// Whether all that is imported looks at files and changes none.
fn only_looks(import: &ImportDeclaration<'_>) -> bool {
    let looks = |name: &str| LOOKING.contains(&name);
    import.specifiers.as_ref().is_some_and(|specifiers| {
        specifiers.iter().all(|one| match one {
            ImportDeclarationSpecifier::ImportSpecifier(one) => looks(&one.imported.name()),
            _ => false,
        })
    })
}

impl<'a> Visit<'a> for Reader {
    fn visit_import_declaration(&mut self, import: &ImportDeclaration<'a>) {
        self.files(&import.source, only_looks(import));
    }

    fn visit_export_from_declaration(&mut self, export: &ExportFromDeclaration<'a>) {
        self.files(&export.source, false);
    }

    fn visit_export_all_declaration(&mut self, export: &ExportAllDeclaration<'a>) {
        self.files(&export.source, false);
    }

    fn visit_import_expression(&mut self, import: &ImportExpression<'a>) {
        if let Expression::StringLiteral(module) = &import.source {
            self.files(module, false);
        }
        walk::walk_import_expression(self, import);
    }

    fn visit_string_literal(&mut self, literal: &StringLiteral<'a>) {
        self.host(host_of(&literal.value), literal.span.start);
    }

    fn visit_template_literal(&mut self, template: &TemplateLiteral<'a>) {
        let parts: Vec<&str> = template
            .quasis
            .iter()
            .map(|part| part.value.cooked.as_ref().map_or("", |text| text.as_str()))
            .collect();
        self.host(host_of_template(&parts), template.span.start);
        walk::walk_template_literal(self, template);
    }

    fn visit_static_member_expression(&mut self, member: &StaticMemberExpression<'a>) {
        if is_environment(&member.object) {
            self.secret(&member.property.name, member.span.start);
        }
        walk::walk_static_member_expression(self, member);
    }

    fn visit_computed_member_expression(&mut self, member: &ComputedMemberExpression<'a>) {
        if let (true, Expression::StringLiteral(name)) = (is_environment(&member.object), &member.expression)
        {
            self.secret(&name.value, member.span.start);
        }
        walk::walk_computed_member_expression(self, member);
    }

    // `const { API_KEY } = process.env`
    fn visit_variable_declarator(&mut self, variable: &VariableDeclarator<'a>) {
        if let (BindingPattern::ObjectPattern(pattern), Some(init)) = (&variable.id, &variable.init)
            && is_environment(init)
        {
            for property in &pattern.properties {
                if let Some(name) = property.key.static_name() {
                    self.secret(&name, property.span.start);
                }
            }
        }
        walk::walk_variable_declarator(self, variable);
    }
}

/// Whether this is `process.env`.
fn is_environment(expression: &Expression<'_>) -> bool {
    matches!(expression, Expression::StaticMemberExpression(member)
        if member.property.name == "env" && matches!(&member.object, Expression::Identifier(of) if of.name == "process"))
}

/// `https://api.example.com/x` → `api.example.com`
fn host_of(text: &str) -> Option<String> {
    let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme))?;
    let authority = text[scheme.len()..].split(['/', '?', '#', '\\']).next()?;
    let url = Url::parse(&format!("{scheme}{authority}")).ok()?;
    let host = url.host_str()?.trim_end_matches('.');
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// The host of a URL with holes: known, where the hole comes after it; a pattern, where it stands before a name.
fn host_of_template(parts: &[&str]) -> Option<String> {
    let (first, rest) = parts.split_first()?;
    let scheme = ["https://", "http://"].into_iter().find(|scheme| first.starts_with(scheme))?;
    let after = &first[scheme.len()..];
    if after.contains(['/', '?', '#']) || rest.is_empty() {
        return host_of(first);
    }
    let next = rest.first()?;
    match (after, next.strip_prefix('.')) {
        // https://${tenant}.example.com/…
        ("", Some(parent)) => {
            let parent = host_of(&format!("{scheme}{parent}"))?;
            parent.contains('.').then(|| format!("*.{parent}"))
        }
        ("", None) => None,
        // https://localhost:${port}
        (host, _) if host.ends_with(':') => {
            Some(format!("{}:*", host_of(&format!("{scheme}{}", host.trim_end_matches(':')))?))
        }
        // https://api.example.com${path}
        (host, _) if host.contains('.') && !host.ends_with(['.', '-']) => host_of(first),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::strip::strip, *};

    fn wishes(source: &str) -> Vec<String> {
        let found = strip("a.ts", source).unwrap().wishes;
        found.into_iter().map(|wish| format!("{}:{} {}", wish.kind, wish.target, wish.reason)).collect()
    }

    #[test]
    fn hosts_and_secrets_are_read_off_with_their_lines() {
        let source = "const key = process.env.API_KEY;\nexport const x = () => fetch('https://api.example.com/v1', { headers: { a: key } });\nfetch(`https://api.example.com/${x}`);";
        assert_eq!(
            wishes(source),
            [
                "http:api.example.com Line 2 names this host.",
                "secret:API_KEY@api.example.com Line 1 reads `process.env.API_KEY`; it can be sent to this host.",
            ]
        );
    }

    #[test]
    fn what_is_imported_for_files_is_read_off() {
        let wish =
            |import: &str| wishes(&format!("\n{import}\nexport const x = [typeof readFile, typeof fs];"));
        let reads = ["workspace:read Line 2 imports `node:fs/promises`."];
        assert_eq!(wish("import { readFile } from 'node:fs/promises';"), reads);
        for import in [
            "import { readFile, rm } from 'node:fs/promises'; rm;",
            "import fs from 'node:fs/promises';",
            "import * as fs from 'node:fs/promises';",
            "const fs = await import('node:fs/promises');",
        ] {
            assert_eq!(wish(import), ["workspace:read-write Line 2 imports `node:fs/promises`."], "{import}");
        }
        assert_eq!(wish("import { join } from 'node:path'; join;").len(), 0);
    }

    #[test]
    fn the_environment_is_read_however_it_is_written() {
        let source = "const { A_KEY, B_KEY: b } = process.env; process.env['C_KEY']; process.env.NODE_ENV; process.env[x];";
        assert_eq!(strip("a.ts", source).unwrap().secrets, ["A_KEY", "B_KEY", "C_KEY"]);
    }

    #[test]
    fn a_url_with_holes_gives_what_is_known_of_its_host() {
        for (template, host) in [
            ("https://api.example.com${p}", Some("api.example.com")),
            ("https://api.example.com/${p}", Some("api.example.com")),
            ("http://localhost:${p}/x", Some("localhost:*")),
            ("http://localhost:8080/${p}", Some("localhost:8080")),
            ("https://${p}.example.com/x", Some("*.example.com")),
            ("https://${p}.com/x", None),
            ("https://${p}/x", None),
            ("https://api-${p}.example.com", None),
            ("say https://api.example.com", None),
            ("ftp://api.example.com", None),
        ] {
            let parts: Vec<&str> = template.split("${p}").collect();
            assert_eq!(host_of_template(&parts).as_deref(), host, "{template}");
        }
        assert_eq!(host_of("https://EXAMPLE.com:8443/x").as_deref(), Some("example.com:8443"));
        assert_eq!(host_of("https://user:pw@example.com").as_deref(), Some("example.com"));
        assert_eq!(wishes("const x: 'https://types.example' = y; // https://comment.example").len(), 0);
    }
}
