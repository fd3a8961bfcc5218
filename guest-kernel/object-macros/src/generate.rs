//! Writes what an [`Interface`] needs besides its trait.

use crate::interface::{Interface, Method};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

/// The trait, and its three implementations.
pub(crate) fn all(interface: &Interface) -> TokenStream {
    let item = &interface.item;
    let name = &item.ident;
    let names = interface.methods.iter().map(|method| method.signature.ident.to_string());
    let reference = each(
        interface,
        "Ref",
        |_, call| quote!(let target = ::k42_object::Here::get(argument_0, *self); #call),
    );
    let miss = each(
        interface,
        "Miss",
        |_, call| quote!(let target = ::k42_object::Miss::find(self, argument_0)?; #call),
    );
    let mediator = each(interface, "Mediator", |number, call| {
        quote! {
            let passage = ::k42_object::Mediator::pass(self, argument_0, #number)?;
            let target = ::k42_object::Passage::target(&passage);
            #call
        }
    });
    quote! {
        #item

        impl ::k42_object::Interface for dyn #name {
            const METHODS: &'static [&'static str] = &[#(#names),*];

            fn miss(miss: &'static ::k42_object::Miss<Self>) -> &'static Self {
                miss
            }

            fn mediator(
                mediator: ::k42_object::Arc<::k42_object::Mediator<Self>>,
            ) -> ::k42_object::Arc<Self> {
                mediator
            }
        }

        #reference
        #miss
        #mediator
    }
}

/// The trait for one of the library's types: each method has this body, told its number and how the
/// target is called.
fn each(
    interface: &Interface,
    of: &str,
    body: impl Fn(usize, TokenStream) -> TokenStream,
) -> TokenStream {
    let name = &interface.item.ident;
    let of = format_ident!("{of}");
    let methods = interface.methods.iter().enumerate().map(|(number, method)| {
        let Method { signature, arguments } = method;
        let function = &signature.ident;
        let body = body(number, quote!(<dyn #name as #name>::#function(target, #(#arguments),*)));
        quote!(#[inline] #signature { #body })
    });
    quote! {
        impl #name for ::k42_object::#of<dyn #name> {
            #(#methods)*
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::expand;
    use quote::quote;

    #[test]
    fn each_method_is_made_three_times() {
        let made = expand(
            quote!(),
            quote!(
                pub trait Counter {
                    fn add(&self, _: &Here<'_>, by: u64) -> Result<(), Gone>;
                }
            ),
        );
        let file: syn::File = syn::parse2(made.unwrap()).unwrap();
        assert_eq!(file.items.len(), 5);
        let made = quote!(#file).to_string();
        for of in ["Ref", "Miss", "Mediator"] {
            assert!(made.contains(&format!("impl Counter for :: k42_object :: {of} <")), "{made}");
        }
        assert_eq!(made.matches("add (target , argument_0 , argument_1)").count(), 3);
        assert!(made.contains("pass (self , argument_0 , 0usize)"));
        assert!(!made.contains("unsafe"));
    }

    #[test]
    fn arguments_of_the_attribute_are_refused() {
        assert!(
            expand(
                quote!(fast),
                quote!(
                    trait T {}
                )
            )
            .is_err()
        );
    }
}
