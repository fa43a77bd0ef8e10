//! `#[tool]`: a type of the function's name that implements `opg_guest::Tool`.
//! Types and functions have separate names in Rust, so the function stays
//! callable and `plugin!(name)` finds the type.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, FnArg, ItemFn, Pat, PatType, ReturnType, Type};

use crate::attribute::{Capabilities, description, refuse_what_cannot_be_called};

/// `^[a-zA-Z0-9_-]{1,64}$` in `wit/tool/tool.wit`.
const NAME_CHARS_MAX: usize = 64;

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let capabilities: Capabilities = syn::parse2(attribute)?;
    let mut function: ItemFn = syn::parse2(item)?;
    refuse_what_cannot_be_called(&function.sig)?;
    let description = description(&function.attrs, &function.sig, "the model")?;
    let name = tool_name(&function.sig.ident)?;
    let parameters = Parameters::take_from(&mut function)?;

    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let input = parameters.input();
    let (declaration, input_type) = (&input.declaration, &input.input_type);
    let (pattern, arguments) = (&input.pattern, &input.arguments);
    let question_mark = returns_result(&function.sig.output).then(|| quote!(?));

    Ok(quote! {
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "it stands for the function of the same name")]
        #visibility enum #ident {}

        const _: () = {
            #declaration

            impl ::opg_guest::Tool for #ident {
                const NAME: &'static str = #name;
                const DESCRIPTION: &'static str = #description;
                const CAPABILITIES: &'static [::opg_guest::Capability] = #capabilities;
                type Input = #input_type;

                fn run(
                    #pattern: #input_type,
                    __context: ::opg_guest::Context,
                ) -> ::core::result::Result<::std::string::String, ::opg_guest::Error> {
                    let output = #ident(#(#arguments),*) #question_mark;
                    ::opg_guest::__private::to_json(&output)
                }
            }
        };
    })
}

/// What a function is called with, from the input of the tool.
struct Parameters {
    fields: Vec<Field>,
    has_context: bool,
}

/// One parameter: the doc comment and serde's attributes went with it.
struct Field {
    attributes: Vec<Attribute>,
    name: Ident,
    ty: Type,
}

/// How the generated code names the input and takes it apart.
struct Input {
    declaration: TokenStream,
    input_type: TokenStream,
    pattern: TokenStream,
    arguments: Vec<TokenStream>,
}

impl Parameters {
    /// Reads the parameters and takes off the attributes Rust would refuse.
    fn take_from(function: &mut ItemFn) -> syn::Result<Self> {
        let mut parameters = Self { fields: Vec::new(), has_context: false };
        let count = function.sig.inputs.len();
        for (position, argument) in function.sig.inputs.iter_mut().enumerate() {
            let FnArg::Typed(argument) = argument else { continue };
            if is_context(&argument.ty) {
                if position + 1 != count {
                    return Err(syn::Error::new_spanned(argument, "the context is the last parameter"));
                }
                parameters.has_context = true;
            } else {
                parameters.fields.push(Field::take_from(argument)?);
            }
        }
        Ok(parameters)
    }

    fn input(&self) -> Input {
        let context = self.has_context.then(|| quote!(__context));
        if let [Field { name, ty, attributes }] = self.fields.as_slice()
            && name == "input"
            && attributes.is_empty()
            && !is_simple(ty)
        {
            return Input {
                declaration: TokenStream::new(),
                input_type: quote!(#ty),
                pattern: quote!(input),
                arguments: [quote!(input)].into_iter().chain(context).collect(),
            };
        }
        let names: Vec<_> = self.fields.iter().map(|field| &field.name).collect();
        let fields =
            self.fields.iter().map(|Field { attributes, name, ty }| quote!(#(#attributes)* #name: #ty));
        // A name that no parameter's type can mean.
        let input = format_ident!("__ToolInput");
        Input {
            declaration: quote! {
                #[derive(::opg_guest::serde::Deserialize, ::opg_guest::schemars::JsonSchema)]
                #[serde(crate = "::opg_guest::serde", deny_unknown_fields)]
                #[schemars(crate = "::opg_guest::schemars")]
                pub struct #input { #(#fields),* }
            },
            pattern: quote!(#input { #(#names),* }),
            arguments: names.iter().map(|name| quote!(#name)).chain(context).collect(),
            input_type: quote!(#input),
        }
    }
}

impl Field {
    fn take_from(argument: &mut PatType) -> syn::Result<Self> {
        let Pat::Ident(pattern) = &*argument.pat else {
            let message = "a parameter of a tool is a name: it becomes a field of the input";
            return Err(syn::Error::new_spanned(&argument.pat, message));
        };
        if let Type::Reference(reference) = &*argument.ty {
            let message =
                "the input is read from JSON, so a parameter owns its value; use `String`, `Vec`, …";
            return Err(syn::Error::new_spanned(reference, message));
        }
        let moves = |attribute: &Attribute| {
            ["doc", "serde", "schemars"].iter().any(|name| attribute.path().is_ident(name))
        };
        Ok(Self {
            attributes: argument.attrs.extract_if(.., |attribute| moves(attribute)).collect(),
            name: pattern.ident.clone(),
            ty: (*argument.ty).clone(),
        })
    }
}

fn tool_name(ident: &Ident) -> syn::Result<String> {
    let name = ident.to_string();
    let name = name.trim_start_matches("r#");
    if name.len() > NAME_CHARS_MAX || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let message = format!("the name of a tool is at most {NAME_CHARS_MAX} ASCII letters, digits and `_`");
        return Err(syn::Error::new(ident.span(), message));
    }
    Ok(name.to_owned())
}

/// By its last word: a macro sees no types, and an alias such as
/// `io::Result<T>` is a `Result` as well.
fn returns_result(output: &ReturnType) -> bool {
    matches!(output, ReturnType::Type(_, ty) if last_word_is(ty, "Result"))
}

fn is_context(ty: &Type) -> bool {
    last_word_is(ty, "Context")
}

fn last_word_is(ty: &Type, word: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == word))
}

/// Whether a parameter named `input` is just a field of that name: a whole
/// input is an object, and these are none.
fn is_simple(ty: &Type) -> bool {
    const SIMPLE: [&str; 16] = [
        "String", "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "isize", "u8", "u16", "u32",
        "u64", "usize", "Value",
    ];
    let Type::Path(path) = ty else { return true };
    let Some(last) = path.path.segments.last() else { return true };
    last.ident == "Vec" || last.ident == "Option" || SIMPLE.iter().any(|simple| last.ident == simple)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(item: TokenStream) -> String {
        match expand(TokenStream::new(), item) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn misuse_is_told_in_one_sentence() {
        let cases = [
            (
                quote!(
                    fn f() {}
                ),
                "doc comment",
            ),
            (
                quote!(
                    #[doc = "d"]
                    async fn f() {}
                ),
                "not async",
            ),
            (
                quote!(
                    #[doc = "d"]
                    fn f<T>(x: T) {}
                ),
                "generic",
            ),
            (
                quote!(
                    #[doc = "d"]
                    fn f(&self) {}
                ),
                "not a method",
            ),
            (
                quote!(
                    #[doc = "d"]
                    fn f(text: &str) {}
                ),
                "use `String`",
            ),
            (
                quote!(
                    #[doc = "d"]
                    fn f((a, b): (u8, u8)) {}
                ),
                "is a name",
            ),
            (
                quote!(
                    #[doc = "d"]
                    fn f(context: Context, a: u8) {}
                ),
                "last parameter",
            ),
            (
                quote!(
                    #[doc = "d"]
                    fn zähle() {}
                ),
                "ASCII",
            ),
        ];
        for (item, expected) in cases {
            let message = problem(item);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_result_is_known_by_its_last_word() {
        let returns = |text: &str| returns_result(&syn::parse_str(text).unwrap());
        assert!(returns("-> Result<u8, Error>"));
        assert!(returns("-> std::io::Result<()>"));
        assert!(!returns("-> Vec<Result<u8, Error>>"));
        assert!(!returns(""));
    }
}
