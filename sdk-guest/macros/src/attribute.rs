//! What stands in `#[tool(…)]` and `#[agent(…)]`, and the doc comment below.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, Signature, Token, parenthesized};

/// The kinds in `wit/tool/tool.wit`.
const KINDS: [&str; 8] = ["http", "secret", "kv", "db", "workspace", "model", "tool", "limit"];

/// The arguments of an attribute: capabilities, nothing else.
pub(crate) struct Capabilities(Vec<Capability>);

struct Capability {
    kind: String,
    target: LitStr,
    reason: LitStr,
}

impl Parse for Capabilities {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let list = Punctuated::<Capability, Token![,]>::parse_terminated(input)?;
        Ok(Self(list.into_iter().collect()))
    }
}

impl Parse for Capability {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse().map_err(|error| {
            syn::Error::new(
                error.span(),
                "expected a capability such as `http(\"api.example.com\", \"why\")`",
            )
        })?;
        let kind = name.to_string();
        if !KINDS.contains(&kind.as_str()) {
            let message = format!("there is no capability `{kind}`; the kinds are {}", KINDS.join(", "));
            return Err(syn::Error::new(name.span(), message));
        }
        let usage = || {
            let message = format!("write `{kind}(\"target\", \"the reason, for the person who grants it\")`");
            syn::Error::new(name.span(), message)
        };
        let arguments = (|| {
            let arguments;
            parenthesized!(arguments in input);
            Punctuated::<LitStr, Token![,]>::parse_terminated(&arguments)
        })()
        .map_err(|_| usage())?;
        let mut arguments = arguments.into_iter();
        let (Some(target), Some(reason), None) = (arguments.next(), arguments.next(), arguments.next())
        else {
            return Err(usage());
        };
        for (text, what) in [(&target, "target"), (&reason, "reason")] {
            if text.value().trim().is_empty() {
                return Err(syn::Error::new(text.span(), format!("the {what} is empty")));
            }
        }
        Ok(Self { kind, target, reason })
    }
}

impl ToTokens for Capabilities {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let items = self.0.iter().map(|Capability { kind, target, reason }| {
            quote!(::opg_guest::Capability { kind: #kind, target: #target, reason: #reason })
        });
        tokens.extend(quote!(&[#(#items),*]));
    }
}

/// The doc comment as one text, without the blank that follows `///`.
pub(crate) fn doc_comment(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> =
        lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n").trim().to_owned()
}

/// The doc comment of a function, which a model or a person will read.
pub(crate) fn description(
    attributes: &[Attribute],
    signature: &Signature,
    reader: &str,
) -> syn::Result<String> {
    let text = doc_comment(attributes);
    if text.is_empty() {
        let message = format!("say what it does in a doc comment (`/// …`): {reader} reads it");
        return Err(syn::Error::new(signature.ident.span(), message));
    }
    Ok(text)
}

/// What neither a tool nor an agent can be.
pub(crate) fn refuse_what_cannot_be_called(signature: &Signature) -> syn::Result<()> {
    let problem = if let Some(token) = &signature.asyncness {
        Some((token.span(), "a guest is not async: calls to the host simply wait"))
    } else if !signature.generics.params.is_empty() {
        Some((signature.generics.span(), "the host calls it with JSON, so it cannot be generic"))
    } else if let Some(receiver) = signature.receiver() {
        Some((receiver.span(), "write a plain function, not a method"))
    } else {
        signature.variadic.as_ref().map(|variadic| (variadic.span(), "write a plain function"))
    };
    match problem {
        Some((span, message)) => Err(syn::Error::new(span, message)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn problem(arguments: TokenStream) -> String {
        match syn::parse2::<Capabilities>(arguments) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn capabilities_are_a_kind_a_target_and_a_reason() {
        let Capabilities(list) = parse_quote!(http("a.example", "to ask"), db("read:notes", "to look"),);
        let list: Vec<_> =
            list.iter().map(|c| (c.kind.as_str(), c.target.value(), c.reason.value())).collect();
        let expected =
            [("http", "a.example".into(), "to ask".into()), ("db", "read:notes".into(), "to look".into())];
        assert_eq!(list, expected);
    }

    #[test]
    fn a_capability_without_a_reason_or_of_an_unknown_kind_is_refused() {
        assert!(problem(quote!(http("a.example"))).starts_with("write `http("));
        assert!(problem(quote!(http)).starts_with("write `http("));
        assert!(problem(quote!(http("a.example", ""))).contains("reason is empty"));
        assert!(problem(quote!(file("/etc", "to look"))).contains("the kinds are http, secret"));
    }

    #[test]
    fn a_doc_comment_keeps_its_lines_and_loses_the_margin() {
        let item: syn::ItemFn = parse_quote! {
            /// First line.
            ///
            ///   indented
            #[inline]
            fn f() {}
        };
        assert_eq!(doc_comment(&item.attrs), "First line.\n\n  indented");
    }
}
