//! WIT types as JSON Schema (2020-12), within what a tool's schema may be: no
//! combinators where an object says the same.

use serde_json::{Map, Value, json};
use wasmtime::component::Type;
use wasmtime::component::types::ComponentFunc;

/// How deep types may be in each other: as deep as a tool's schema may go.
const DEPTH_MAX: usize = 8;

/// Why there is no JSON for a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error(
        "it takes or gives a {0}, and a tool takes and gives values; wrap it in a function of plain types"
    )]
    NoValue(&'static str),
    #[error("its types are more than {DEPTH_MAX} deep in each other; make them flatter")]
    TooDeep,
}

/// The schema of a function's parameters: an object with one property each.
pub(super) fn of_params(ty: &ComponentFunc) -> Result<Value, Unfit> {
    object(ty.params().map(|(name, ty)| (name.to_owned(), ty)), 0)
}

/// The schema of one type.
pub(super) fn of(ty: &Type) -> Result<Value, Unfit> {
    at(ty, 0)
}

fn at(ty: &Type, depth: usize) -> Result<Value, Unfit> {
    if depth > DEPTH_MAX {
        return Err(Unfit::TooDeep);
    }
    let inside = |ty: &Type| at(ty, depth + 1);
    let integer = |min: i64, max: u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    Ok(match ty {
        Type::Bool => json!({ "type": "boolean" }),
        Type::S8 => integer(i8::MIN.into(), 0x7f),
        Type::U8 => integer(0, u8::MAX.into()),
        Type::S16 => integer(i16::MIN.into(), 0x7fff),
        Type::U16 => integer(0, u16::MAX.into()),
        Type::S32 => integer(i32::MIN.into(), 0x7fff_ffff),
        Type::U32 => integer(0, u32::MAX.into()),
        Type::S64 => integer(i64::MIN, i64::MAX.unsigned_abs()),
        Type::U64 => integer(0, u64::MAX),
        Type::Float32 | Type::Float64 => json!({ "type": "number" }),
        Type::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
        Type::String => json!({ "type": "string" }),
        Type::List(list) if list.ty() == Type::U8 => {
            json!({ "type": "string", "contentEncoding": "base64" })
        }
        Type::List(list) => json!({ "type": "array", "items": inside(&list.ty())? }),
        Type::FixedLengthList(list) => {
            json!({ "type": "array", "items": inside(&list.ty())?, "minItems": list.len(), "maxItems": list.len() })
        }
        Type::Record(record) => {
            object(record.fields().map(|field| (field.name.to_owned(), field.ty)), depth)?
        }
        Type::Tuple(tuple) => {
            let items = tuple.types().map(|ty| inside(&ty)).collect::<Result<Vec<_>, _>>()?;
            json!({ "type": "array", "minItems": items.len(), "maxItems": items.len(), "prefixItems": items })
        }
        Type::Variant(variant) => one_of(variant.cases().map(|case| (case.name.to_owned(), case.ty)), depth)?,
        Type::Result(result) => {
            one_of([("ok".to_owned(), result.ok()), ("err".to_owned(), result.err())].into_iter(), depth)?
        }
        Type::Enum(names) => json!({ "type": "string", "enum": names.names().collect::<Vec<_>>() }),
        Type::Flags(flags) => {
            json!({ "type": "array", "items": { "type": "string", "enum": flags.names().collect::<Vec<_>>() } })
        }
        Type::Option(option) => or_null(inside(&option.ty())?),
        Type::Map(_) => return Err(Unfit::NoValue("map")),
        Type::Own(_) | Type::Borrow(_) => return Err(Unfit::NoValue("resource")),
        Type::Future(_) => return Err(Unfit::NoValue("future")),
        Type::Stream(_) => return Err(Unfit::NoValue("stream")),
        Type::ErrorContext => return Err(Unfit::NoValue("error-context")),
    })
}

fn object(fields: impl Iterator<Item = (String, Type)>, depth: usize) -> Result<Value, Unfit> {
    let (mut properties, mut required) = (Map::new(), vec![]);
    for (name, ty) in fields {
        properties.insert(name.clone(), at(&ty, depth + 1)?);
        if !matches!(ty, Type::Option(_)) {
            required.push(name);
        }
    }
    Ok(json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    }))
}

/// One property out of several; `null` where a case carries nothing.
fn one_of(cases: impl Iterator<Item = (String, Option<Type>)>, depth: usize) -> Result<Value, Unfit> {
    let mut properties = Map::new();
    for (name, ty) in cases {
        let value = ty.map_or(Ok(json!({ "type": "null" })), |ty| at(&ty, depth + 1))?;
        properties.insert(name, value);
    }
    Ok(json!({
        "type": "object", "properties": properties, "minProperties": 1, "maxProperties": 1,
        "additionalProperties": false,
    }))
}

fn or_null(mut schema: Value) -> Value {
    let Some(kind) = schema.get("type").filter(|kind| kind.is_string()).cloned() else { return schema };
    schema["type"] = json!([kind, "null"]);
    if let Some(names) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        names.push(Value::Null);
    }
    schema
}

/// A type as its author wrote it, without what is inside.
pub(super) fn wit_name(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::S8 => "s8".to_owned(),
        Type::U8 => "u8".to_owned(),
        Type::S16 => "s16".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::S32 => "s32".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::S64 => "s64".to_owned(),
        Type::U64 => "u64".to_owned(),
        Type::Float32 => "f32".to_owned(),
        Type::Float64 => "f64".to_owned(),
        Type::Char => "char".to_owned(),
        Type::String => "string".to_owned(),
        Type::List(list) => format!("list<{}>", wit_name(&list.ty())),
        Type::Option(option) => format!("option<{}>", wit_name(&option.ty())),
        Type::Result(result) => {
            let name = |ty: Option<Type>| ty.map_or("_".to_owned(), |ty| wit_name(&ty));
            format!("result<{}, {}>", name(result.ok()), name(result.err()))
        }
        Type::Tuple(tuple) => {
            format!("tuple<{}>", tuple.types().map(|ty| wit_name(&ty)).collect::<Vec<_>>().join(", "))
        }
        Type::Record(record) => {
            let fields = record.fields().map(|field| format!("{}: {}", field.name, wit_name(&field.ty)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        Type::Variant(variant) => variant.cases().map(|case| case.name).collect::<Vec<_>>().join(" | "),
        Type::Enum(names) => names.names().collect::<Vec<_>>().join(" | "),
        Type::Flags(flags) => format!("flags of {}", flags.names().collect::<Vec<_>>().join(", ")),
        _ => "…".to_owned(),
    }
}
