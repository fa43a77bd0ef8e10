//! An app's tables as types of another language (row M099): the shape of the rows a query answers with.

use super::schema::{ColumnOf, Relation};

/// The rows of tables and views as TypeScript interfaces. A table `app_demo__order_lines` is `OrderLines`.
pub(super) fn typescript(namespace: &str, relations: &[Relation]) -> String {
    let mut text = format!("// Rows of {namespace}*, as a query answers with them.\n");
    for relation in relations.iter().filter(|relation| relation.kind != "sequence") {
        let name = pascal(relation.name.strip_prefix(namespace).unwrap_or(&relation.name));
        text += &format!("\n/** {} `{}` */\nexport interface {name} {{\n", relation.kind, relation.name);
        for column in &relation.columns {
            text += &format!("  {}: {};\n", key(&column.name), type_of(column));
        }
        text.push_str("}\n");
    }
    text
}

fn type_of(column: &ColumnOf) -> String {
    let (scalar, dimensions) = match column.type_name.strip_suffix("[]") {
        Some(scalar) => (scalar, "[]"),
        None => (column.type_name.as_str(), ""),
    };
    let base = match scalar.split('(').next().unwrap_or_default().trim() {
        "boolean" => "boolean",
        "smallint" | "integer" | "real" | "double precision" => "number",
        "json" | "jsonb" => "unknown",
        // Among them bigint and numeric, which a number would round.
        _ => "string",
    };
    let null = if column.nullable && base != "unknown" { " | null" } else { "" };
    format!("{base}{dimensions}{null}")
}

/// A property's name, in quotes where it has to be.
fn key(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { name.to_owned() } else { serde_json::Value::from(name).to_string() }
}

fn pascal(name: &str) -> String {
    let mut text: String = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word[..1].to_ascii_uppercase() + &word[1..])
        .collect();
    if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        text.insert(0, 'T');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_name: &str, nullable: bool) -> ColumnOf {
        ColumnOf { name: name.into(), type_name: type_name.into(), nullable, default: None, generated: None }
    }

    #[test]
    fn m099_a_table_is_an_interface_of_what_a_query_answers_with() {
        let orders = Relation {
            name: "app_demo__order_lines".into(),
            kind: "table".into(),
            columns: vec![
                column("id", "bigint", false),
                column("paid", "boolean", true),
                column("n", "integer", false),
                column("tags", "text[]", false),
                column("meta", "jsonb", true),
                column("odd \"name\"", "numeric(12,2)", false),
            ],
            primary_key: vec![],
            indexes: vec![],
            constraints: vec![],
            rows_estimate: None,
            bytes: None,
        };
        let sequence = Relation { name: "app_demo__s".into(), kind: "sequence".into(), ..orders.clone() };
        let text = typescript("app_demo__", &[orders, sequence]);
        assert_eq!(
            text,
            "// Rows of app_demo__*, as a query answers with them.\n\n/** table `app_demo__order_lines` */\n\
             export interface OrderLines {\n  id: string;\n  paid: boolean | null;\n  n: number;\n  tags: string[];\n  \
             meta: unknown;\n  \"odd \\\"name\\\"\": string;\n}\n"
        );
    }
}
