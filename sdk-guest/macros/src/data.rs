//! `#[input]` and `#[data]`: derives that work through the SDK's re-exports,
//! so that a plugin needs no other dependency.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Item;

pub(crate) fn expand_input(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let item = data_item("input", &attribute, item)?;
    Ok(quote! {
        #[derive(::opg_guest::serde::Deserialize, ::opg_guest::schemars::JsonSchema)]
        #[serde(crate = "::opg_guest::serde", deny_unknown_fields)]
        #[schemars(crate = "::opg_guest::schemars")]
        #item
    })
}

pub(crate) fn expand_data(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let item = data_item("data", &attribute, item)?;
    Ok(quote! {
        #[derive(
            ::opg_guest::serde::Deserialize,
            ::opg_guest::serde::Serialize,
            ::opg_guest::schemars::JsonSchema,
        )]
        #[serde(crate = "::opg_guest::serde")]
        #[schemars(crate = "::opg_guest::schemars")]
        #item
    })
}

fn data_item(name: &str, attribute: &TokenStream, item: TokenStream) -> syn::Result<Item> {
    if !attribute.is_empty() {
        return Err(syn::Error::new_spanned(attribute, format!("`#[{name}]` takes no arguments")));
    }
    match syn::parse2(item)? {
        item @ (Item::Struct(_) | Item::Enum(_)) => Ok(item),
        other => Err(syn::Error::new_spanned(other, format!("`#[{name}]` stands on a struct or an enum"))),
    }
}
