//! JSON to the values of WIT types, and back, as `schema` says.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value, json};
use wasmtime::component::{Type, Val};

/// The value of a type that a JSON value stands for.
///
/// # Errors
/// Where it stands for none, in words for whoever wrote it.
pub(in crate::sandbox) fn from_json(ty: &Type, json: Value) -> Result<Val, String> {
    let said = short(&json);
    let expected = |what: &str| format!("expected {what}, got {said}");
    Ok(match ty {
        Type::Bool => Val::Bool(json.as_bool().ok_or_else(|| expected("true or false"))?),
        Type::S8 => Val::S8(integer(&json)?),
        Type::U8 => Val::U8(integer(&json)?),
        Type::S16 => Val::S16(integer(&json)?),
        Type::U16 => Val::U16(integer(&json)?),
        Type::S32 => Val::S32(integer(&json)?),
        Type::U32 => Val::U32(integer(&json)?),
        Type::S64 => Val::S64(integer(&json)?),
        Type::U64 => Val::U64(integer(&json)?),
        Type::Float32 => {
            #[expect(clippy::cast_possible_truncation, reason = "that is what the type can hold")]
            let float = json.as_f64().ok_or_else(|| expected("a number"))? as f32;
            if float.is_infinite() {
                return Err(expected("a number that 32 bits can hold"));
            }
            Val::Float32(float)
        }
        Type::Float64 => Val::Float64(json.as_f64().ok_or_else(|| expected("a number"))?),
        Type::Char => {
            let mut chars = json.as_str().unwrap_or_default().chars();
            match (chars.next(), chars.next()) {
                (Some(char), None) => Val::Char(char),
                _ => return Err(expected("one character")),
            }
        }
        Type::String => match json {
            Value::String(text) => Val::String(text),
            _ => return Err(expected("text")),
        },
        Type::List(list) if list.ty() == Type::U8 => {
            let bytes = json.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
            Val::List(bytes.ok_or_else(|| expected("bytes in base64"))?.into_iter().map(Val::U8).collect())
        }
        Type::List(list) => {
            let ty = list.ty();
            Val::List(array(json)?.into_iter().map(|item| from_json(&ty, item)).collect::<Result<_, _>>()?)
        }
        Type::FixedLengthList(list) => {
            let (ty, items) = (list.ty(), array(json)?);
            if u32::try_from(items.len()) != Ok(list.len()) {
                return Err(format!("expected {} items, got {}", list.len(), items.len()));
            }
            Val::FixedLengthList(
                items.into_iter().map(|item| from_json(&ty, item)).collect::<Result<_, _>>()?,
            )
        }
        Type::Record(record) => {
            let mut given = object(json)?;
            let fields = record.fields().map(|field| {
                let value = given.remove(field.name).unwrap_or(Value::Null);
                let value =
                    from_json(&field.ty, value).map_err(|wrong| format!("`{}`: {wrong}", field.name))?;
                Ok((field.name.to_owned(), value))
            });
            Val::Record(fields.collect::<Result<_, String>>()?)
        }
        Type::Tuple(tuple) => {
            let items = array(json)?;
            if items.len() != tuple.types().len() {
                return Err(format!("expected {} items, got {}", tuple.types().len(), items.len()));
            }
            Val::Tuple(
                tuple.types().zip(items).map(|(ty, item)| from_json(&ty, item)).collect::<Result<_, _>>()?,
            )
        }
        Type::Variant(variant) => {
            let (name, value) = one(json)?;
            let case = variant.cases().find(|case| case.name == name);
            let case = case.ok_or_else(|| format!("there is no case `{name}`"))?;
            Val::Variant(name, boxed(case.ty, value)?)
        }
        Type::Result(result) => match one(json)? {
            (name, value) if name == "ok" => Val::Result(Ok(boxed(result.ok(), value)?)),
            (name, value) if name == "err" => Val::Result(Err(boxed(result.err(), value)?)),
            (name, _) => return Err(format!("expected `ok` or `err`, got `{name}`")),
        },
        Type::Enum(names) => match json.as_str().filter(|text| names.names().any(|name| name == *text)) {
            Some(name) => Val::Enum(name.to_owned()),
            None => {
                return Err(expected(&format!("one of {}", names.names().collect::<Vec<_>>().join(", "))));
            }
        },
        Type::Flags(flags) => {
            let named = array(json)?.into_iter().map(|flag| match flag {
                Value::String(flag) if flags.names().any(|name| name == flag) => Ok(flag),
                other => Err(format!("there is no flag {}", short(&other))),
            });
            Val::Flags(named.collect::<Result<_, _>>()?)
        }
        Type::Option(option) => match json {
            Value::Null => Val::Option(None),
            json => Val::Option(Some(Box::new(from_json(&option.ty(), json)?))),
        },
        // No function with these is a tool.
        _ => return Err("this type has no JSON".to_owned()),
    })
}

/// The JSON of a value of this type.
///
/// # Errors
/// Where there is none: numbers that are not numbers.
pub(in crate::sandbox) fn into_json(ty: &Type, val: Val) -> Result<Value, String> {
    let number = |float: f64| {
        serde_json::Number::from_f64(float)
            .map(Value::Number)
            .ok_or_else(|| format!("it gave the number {float}, which JSON cannot hold"))
    };
    Ok(match (ty, val) {
        (_, Val::Bool(value)) => json!(value),
        (_, Val::S8(value)) => json!(value),
        (_, Val::U8(value)) => json!(value),
        (_, Val::S16(value)) => json!(value),
        (_, Val::U16(value)) => json!(value),
        (_, Val::S32(value)) => json!(value),
        (_, Val::U32(value)) => json!(value),
        (_, Val::S64(value)) => json!(value),
        (_, Val::U64(value)) => json!(value),
        (_, Val::Float32(value)) => number(value.into())?,
        (_, Val::Float64(value)) => number(value)?,
        (_, Val::Char(value)) => json!(value),
        (_, Val::String(value) | Val::Enum(value)) => json!(value),
        (_, Val::Flags(names)) => json!(names),
        (Type::List(list), Val::List(items)) if list.ty() == Type::U8 => {
            json!(BASE64_STANDARD.encode(bytes(items)))
        }
        (Type::List(list), Val::List(items)) => all(&list.ty(), items)?,
        (Type::FixedLengthList(list), Val::FixedLengthList(items)) => all(&list.ty(), items)?,
        (Type::Tuple(tuple), Val::Tuple(items)) => Value::Array(
            tuple.types().zip(items).map(|(ty, item)| into_json(&ty, item)).collect::<Result<_, _>>()?,
        ),
        (Type::Record(record), Val::Record(fields)) => {
            let fields = record
                .fields()
                .zip(fields)
                .map(|(field, (name, value))| Ok((name, into_json(&field.ty, value)?)));
            Value::Object(fields.collect::<Result<Map<_, _>, String>>()?)
        }
        (Type::Variant(variant), Val::Variant(name, value)) => {
            let ty = variant.cases().find(|case| case.name == name).and_then(|case| case.ty);
            json!({ name: unboxed(ty, value)? })
        }
        (Type::Result(result), Val::Result(Ok(value))) => json!({ "ok": unboxed(result.ok(), value)? }),
        (Type::Result(result), Val::Result(Err(value))) => json!({ "err": unboxed(result.err(), value)? }),
        (Type::Option(option), Val::Option(value)) => unboxed(Some(option.ty()), value)?,
        _ => return Err("it gave something that is no value".to_owned()),
    })
}

fn all(ty: &Type, items: Vec<Val>) -> Result<Value, String> {
    Ok(Value::Array(items.into_iter().map(|item| into_json(ty, item)).collect::<Result<_, _>>()?))
}

fn bytes(items: Vec<Val>) -> Vec<u8> {
    items.into_iter().filter_map(|item| if let Val::U8(byte) = item { Some(byte) } else { None }).collect()
}

/// The JSON of what a case carries; `null` where it carries nothing.
pub(super) fn unboxed(ty: Option<Type>, value: Option<Box<Val>>) -> Result<Value, String> {
    match (ty, value) {
        (Some(ty), Some(value)) => into_json(&ty, *value),
        _ => Ok(Value::Null),
    }
}

fn boxed(ty: Option<Type>, json: Value) -> Result<Option<Box<Val>>, String> {
    ty.map(|ty| from_json(&ty, json).map(Box::new)).transpose()
}

fn integer<T: TryFrom<i128>>(json: &Value) -> Result<T, String> {
    let whole = json.as_i64().map(i128::from).or_else(|| json.as_u64().map(i128::from));
    // JSON Schema counts 1.0 among the integers.
    #[expect(clippy::cast_possible_truncation, reason = "exactly representable: checked just before")]
    let whole =
        whole.or_else(|| json.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i128));
    whole
        .and_then(|n| n.try_into().ok())
        .ok_or_else(|| format!("expected a whole number in range, got {}", short(json)))
}

fn array(json: Value) -> Result<Vec<Value>, String> {
    match json {
        Value::Array(items) => Ok(items),
        other => Err(format!("expected a list, got {}", short(&other))),
    }
}

fn object(json: Value) -> Result<Map<String, Value>, String> {
    match json {
        Value::Object(fields) => Ok(fields),
        other => Err(format!("expected an object, got {}", short(&other))),
    }
}

/// The one property of an object.
fn one(json: Value) -> Result<(String, Value), String> {
    let mut fields = object(json)?.into_iter();
    match (fields.next(), fields.next()) {
        (Some(field), None) => Ok(field),
        _ => Err("expected an object with exactly one property: the case".to_owned()),
    }
}

fn short(json: &Value) -> String {
    crate::sandbox::text::cut(json.to_string(), 60)
}
