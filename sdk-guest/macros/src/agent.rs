//! `#[agent]`: the function becomes the agent of the component.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemFn;

use crate::attribute::{Capabilities, description, refuse_what_cannot_be_called};

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let capabilities: Capabilities = syn::parse2(attribute)?;
    let function: ItemFn = syn::parse2(item)?;
    refuse_what_cannot_be_called(&function.sig)?;
    let description = description(&function.attrs, &function.sig, "whoever chooses an agent")?;
    if function.sig.inputs.len() != 1 {
        let message = "an agent is `fn(turn: Turn) -> Result<Outcome, Error>`";
        return Err(syn::Error::new(function.sig.ident.span(), message));
    }
    let name = &function.sig.ident;

    Ok(quote! {
        #function

        const _: () = {
            use ::opg_guest::bindings::agent::exports::opg::agent::agent as export;

            struct Agent;

            impl export::Guest for Agent {
                fn describe() -> export::Definition {
                    ::opg_guest::__private::agent_definition(#description, #capabilities)
                }

                fn run(turn: export::Turn) -> ::core::result::Result<export::Outcome, export::Error> {
                    ::opg_guest::__private::run_agent(turn, #name)
                }
            }

            // Natively, nobody calls it, and the compiler would call it dead.
            const _: fn() -> export::Definition = <Agent as export::Guest>::describe;

            #[cfg(target_arch = "wasm32")]
            ::opg_guest::bindings::agent::export_agent!(Agent with_types_in ::opg_guest::bindings::agent);
        };
    })
}
