//! `#[clustered]`: what makes a trait the interface of clustered objects (`guest-kernel/object`, which
//! exports it).
//!
//! [`interface`] reads the trait and says what about it cannot be served; [`generate`] writes what it
//! needs: its implementation on references, the miss object's and the mediator's. All that is written
//! is safe code, so it may stand where unsafe code is forbidden.
#![forbid(unsafe_code)]

mod generate;
mod interface;

use proc_macro2::TokenStream;

/// Makes a trait the interface of clustered objects.
///
/// Every method takes `&self` and, first of all, `here: &Here<'_>`: the activation that calls. It
/// answers `Result<_, E>` with `E: From<Gone>`, as the object may have ended, and what it answers
/// borrows nothing. There are no type parameters, associated types or constants, nor any supertrait
/// but `Send` and `Sync`, which each interface gets.
///
/// Made are, for `trait T`: `T` for `Ref<dyn T>`, a call by translation; for `Miss<dyn T>`, the first
/// call on a vCPU; for `Mediator<dyn T>`, a call that something watches.
#[proc_macro_attribute]
pub fn clustered(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand(arguments.into(), item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(syn::Error::new_spanned(arguments, "#[clustered] takes no arguments"));
    }
    Ok(generate::all(&interface::Interface::parse(item)?))
}
