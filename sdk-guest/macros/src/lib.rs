//! The macros of `opg-guest`. They read a function and its comments and write
//! the implementation of a trait; what the host sees is made from it in the
//! SDK, where it can be read and tested as plain Rust.

mod agent;
mod attribute;
mod data;
mod tool;

use proc_macro::TokenStream;

/// See `opg_guest::tool`.
#[proc_macro_attribute]
pub fn tool(attribute: TokenStream, item: TokenStream) -> TokenStream {
    finish(tool::expand(attribute.into(), item.into()))
}

/// See `opg_guest::agent`.
#[proc_macro_attribute]
pub fn agent(attribute: TokenStream, item: TokenStream) -> TokenStream {
    finish(agent::expand(attribute.into(), item.into()))
}

/// See `opg_guest::input`.
#[proc_macro_attribute]
pub fn input(attribute: TokenStream, item: TokenStream) -> TokenStream {
    finish(data::expand_input(attribute.into(), item.into()))
}

/// See `opg_guest::data`.
#[proc_macro_attribute]
pub fn data(attribute: TokenStream, item: TokenStream) -> TokenStream {
    finish(data::expand_data(attribute.into(), item.into()))
}

fn finish(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(syn::Error::into_compile_error).into()
}
