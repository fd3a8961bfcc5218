//! What is read of an interface, and what is refused.

use super::*;
use quote::quote;

fn refused(item: TokenStream) -> String {
    Interface::parse(item).err().expect("a trait that cannot be served").to_string()
}

/// What is said of an interface with this method.
fn refused_method(method: TokenStream) -> String {
    refused(quote!(trait T { #method }))
}

#[test]
fn an_interface_is_read() {
    let read = Interface::parse(quote! {
        /// Counts.
        pub trait Counter: Send {
            /// Adds.
            fn add(&self, here: &Here<'_>, by: u64) -> Result<(), Gone>;
            fn name<'a>(&self, _: &k42_object::Here<'_>, of: &'a str)
                -> io::Result<&'static str> { todo!() }
        }
    });
    let read = read.unwrap();
    let names: Vec<String> =
        read.methods.iter().map(|method| method.signature.ident.to_string()).collect();
    assert_eq!(names, ["add", "name"]);
    assert_eq!(read.methods[1].arguments, ["argument_0", "argument_1"]);
    assert_eq!(read.item.supertraits.len(), 3);
}

#[test]
fn what_is_no_interface_is_refused() {
    assert!(
        refused(quote!(
            struct S;
        ))
        .contains("before a trait")
    );
    assert!(
        refused(quote!(
            unsafe trait T {}
        ))
        .contains("no unsafe trait")
    );
    assert!(
        refused(quote!(
            trait T<A> {}
        ))
        .contains("no parameters")
    );
    assert!(
        refused(quote!(
            trait T<'a> {}
        ))
        .contains("no parameters")
    );
    assert!(
        refused(quote!(
            trait T where
                u8: Copy,
            {
            }
        ))
        .contains("no where clause")
    );
    assert!(
        refused(quote!(
            trait T: Clone {}
        ))
        .contains("no supertraits")
    );
    assert!(
        refused(quote!(
            trait T: Send + 'a {}
        ))
        .contains("no supertraits")
    );
    assert!(
        refused(quote!(
            trait T {}
        ))
        .contains("has methods")
    );
    assert!(
        refused(quote!(
            trait T {
                type A;
            }
        ))
        .contains("no associated types")
    );
    assert!(
        refused(quote!(
            trait T {
                const A: u8;
            }
        ))
        .contains("no constants")
    );
    assert!(
        refused(quote!(
            trait T {
                m!();
            }
        ))
        .contains("nothing else")
    );
}

#[test]
fn a_method_that_cannot_be_called_by_a_reference_is_refused() {
    let cases = [
        (
            quote!(
                async fn f(&self, here: &Here<'_>) -> Result<(), Gone>;
            ),
            "not async",
        ),
        (
            quote!(
                unsafe fn f(&self, here: &Here<'_>) -> Result<(), Gone>;
            ),
            "not unsafe",
        ),
        (
            quote!(
                extern "C" fn f(&self, here: &Here<'_>) -> Result<(), Gone>;
            ),
            "no extern",
        ),
        (
            quote!(
                fn f<A>(&self, here: &Here<'_>) -> Result<(), Gone>;
            ),
            "no type parameters",
        ),
        (
            quote!(
                fn f<const N: u8>(&self, h: &Here<'_>) -> Result<(), Gone>;
            ),
            "no type",
        ),
        (
            quote!(
                fn f(&self, h: &Here<'_>, a: impl Copy) -> Result<(), Gone>;
            ),
            "no type",
        ),
        (
            quote!(
                fn f(&self, h: &Here<'_>) -> Result<(), Gone>
                where
                    Self: Sized;
            ),
            "no where",
        ),
        (
            quote!(
                #[cfg(test)]
                fn f(&self, h: &Here<'_>) -> Result<(), Gone>;
            ),
            "cfg",
        ),
        (
            quote!(
                fn f(here: &Here<'_>) -> Result<(), Gone>;
            ),
            "&self",
        ),
        (
            quote!(
                fn f() -> Result<(), Gone>;
            ),
            "&self",
        ),
        (
            quote!(
                fn f(self, here: &Here<'_>) -> Result<(), Gone>;
            ),
            "&self",
        ),
        (
            quote!(
                fn f(&mut self, here: &Here<'_>) -> Result<(), Gone>;
            ),
            "&self",
        ),
        (
            quote!(
                fn f(self: Arc<Self>, here: &Here<'_>) -> Result<(), Gone>;
            ),
            "&self",
        ),
        (
            quote!(
                fn f(&self) -> Result<(), Gone>;
            ),
            "&Here<'_>",
        ),
        (
            quote!(
                fn f(&self, by: u64) -> Result<(), Gone>;
            ),
            "&Here<'_>",
        ),
        (
            quote!(
                fn f(&self, here: Here<'_>) -> Result<(), Gone>;
            ),
            "&Here<'_>",
        ),
        (
            quote!(
                fn f(&self, here: &mut Here<'_>) -> Result<(), Gone>;
            ),
            "&Here<'_>",
        ),
    ];
    for (method, reason) in cases {
        let said = refused_method(method.clone());
        assert!(said.contains(reason), "{method}: {said}");
    }
}

#[test]
fn an_answer_is_a_result_that_borrows_nothing() {
    for answer in [quote!(), quote!(-> u64), quote!(-> &'static str), quote!(-> Option<()>)] {
        let said = refused_method(quote!(fn f(&self, here: &Here<'_>) #answer;));
        assert!(said.contains("may be gone"), "{answer}: {said}");
    }
    let borrowed = quote!(
        fn f(&self, here: &Here<'_>) -> Result<Option<(u8, &str)>, Gone>;
    );
    assert!(refused_method(borrowed).contains("borrows nothing"));
    let unnamed = quote!(
        fn f(&self, here: &Here<'_>) -> Result<impl Copy, Gone>;
    );
    assert!(refused_method(unnamed).contains("with a name"));
}
