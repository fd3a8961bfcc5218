//! Reads an interface, and refuses what a reference could not be called by. [`crate::generate`] has
//! nothing left to refuse.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, GenericParam, ItemTrait, Receiver, ReceiverKind, Result, ReturnType, Safety,
    Signature, TraitItem, TraitItemFn, Type, TypeParamBound, parse_quote, parse2,
};

/// An interface that can be served.
pub(crate) struct Interface {
    /// The trait as it was written, with the supertraits that each has.
    pub(crate) item: ItemTrait,
    /// Its methods, in their order; each argument after `self` has a name of our own.
    pub(crate) methods: Vec<Method>,
}

/// One method.
pub(crate) struct Method {
    pub(crate) signature: Signature,
    /// The names of what follows `self`; the first is the activation's.
    pub(crate) arguments: Vec<Ident>,
}

impl Interface {
    /// Reads a trait.
    ///
    /// # Errors
    /// It is none, or one that cannot be served: at the place, with the reason and the remedy.
    pub(crate) fn parse(item: TokenStream) -> Result<Interface> {
        let at = item.clone();
        let mut item: ItemTrait = parse2(item)
            .map_err(|_| Error::new_spanned(at, "#[clustered] belongs before a trait"))?;
        refuse(
            item.unsafety.as_ref(),
            "an interface is no unsafe trait: anybody may implement it",
        )?;
        if !item.generics.params.is_empty() {
            return error(&item.generics, "an interface has no parameters: one trait for each use");
        }
        refuse(item.generics.where_clause.as_ref(), "an interface has no where clause")?;
        for bound in &item.supertraits {
            check_bound(bound)?;
        }
        item.supertraits = parse_quote!(::core::marker::Send + ::core::marker::Sync + 'static);
        item.colon_token = Some(Default::default());
        let methods = item.items.iter().map(method).collect::<Result<Vec<_>>>()?;
        if methods.is_empty() {
            return error(&item.ident, "an interface has methods");
        }
        Ok(Interface { item, methods })
    }
}

fn error<T>(at: &impl ToTokens, message: &str) -> Result<T> {
    Err(Error::new_spanned(at, message))
}

fn refuse(part: Option<&impl ToTokens>, message: &str) -> Result<()> {
    part.map_or(Ok(()), |part| error(part, message))
}

fn check_bound(bound: &TypeParamBound) -> Result<()> {
    let known = match bound {
        TypeParamBound::Trait(bound) => {
            let last = bound.path.segments.last();
            last.is_some_and(|last| last.ident == "Send" || last.ident == "Sync")
        }
        TypeParamBound::Lifetime(lifetime) => lifetime.ident == "static",
        _ => false,
    };
    if known {
        return Ok(());
    }
    error(bound, "an interface has no supertraits but Send and Sync: put the methods in one trait")
}

fn method(item: &TraitItem) -> Result<Method> {
    match item {
        TraitItem::Fn(item) => read(item),
        TraitItem::Const(item) => error(item, "an interface has no constants: make it a method"),
        TraitItem::Type(item) => error(item, "an interface has no associated types: name the type"),
        other => error(other, "an interface has methods and nothing else"),
    }
}

fn read(item: &TraitItemFn) -> Result<Method> {
    let mut signature = item.sig.clone();
    refuse(
        signature.asyncness.as_ref(),
        "a call is no future: a method of an object is not async",
    )?;
    refuse(signature.constness.as_ref(), "a call is translated as it is made: not const")?;
    if !matches!(signature.safety, Safety::Default) {
        return error(&signature.fn_token, "whoever has a reference may call: not unsafe");
    }
    refuse(signature.abi.as_ref(), "calls are Rust's: no extern")?;
    refuse(signature.variadic.as_ref(), "a method's arguments have types: no variadics")?;
    let parameter = |p: &&GenericParam| !matches!(p, GenericParam::Lifetime(_));
    let parameter = signature.generics.params.iter().find(parameter);
    refuse(parameter, "a method that is called by pointer has no type parameters")?;
    let clause = signature.generics.where_clause.as_ref();
    refuse(clause, "every object of the interface has the method: no where clause")?;
    let configured = item.attrs.iter().find(|attribute| attribute.path().is_ident("cfg"));
    refuse(configured, "methods are counted by number: put the cfg before the trait")?;
    check_answer(&signature)?;

    let mut inputs = signature.inputs.iter_mut();
    match inputs.next() {
        Some(FnArg::Receiver(receiver)) if is_shared(receiver) => {}
        Some(other) => return error(other, "an object is shared by processors: &self"),
        None => return error(&item.sig, "an object is shared by processors: &self"),
    }
    let mut arguments = Vec::new();
    for input in inputs {
        let FnArg::Typed(argument) = input else { continue };
        if arguments.is_empty() && !is_here(&argument.ty) {
            return error(&argument.ty, "who calls comes first: here: &Here<'_>");
        }
        if mentions(&argument.ty, "impl") {
            return error(
                &argument.ty,
                "a method that is called by pointer has no type parameters",
            );
        }
        let name = format_ident!("argument_{}", arguments.len(), span = argument.pat.span());
        argument.pat = parse_quote!(#name);
        arguments.push(name);
    }
    if arguments.is_empty() {
        return error(&item.sig.ident, "who calls comes first: here: &Here<'_>");
    }
    Ok(Method { signature, arguments })
}

fn is_shared(receiver: &Receiver) -> bool {
    matches!(receiver.kind, ReceiverKind::Reference(_, _, None))
}

/// Whether a type is a reference to an activation, by its name; the compiler looks whether it is ours.
fn is_here(ty: &Type) -> bool {
    let Type::Reference(reference) = ty else { return false };
    let Type::Path(path) = &*reference.elem else { return false };
    let last = path.path.segments.last();
    reference.mutability.is_none() && last.is_some_and(|last| last.ident == "Here")
}

fn check_answer(signature: &Signature) -> Result<()> {
    const WANTED: &str = "the object may be gone: answer Result<_, E> with E: From<Gone>";
    let ReturnType::Type(_, answer) = &signature.output else {
        return error(&signature.ident, WANTED);
    };
    let Type::Path(path) = &**answer else { return error(answer, WANTED) };
    if path.path.segments.last().is_none_or(|last| !last.ident.to_string().ends_with("Result")) {
        return error(answer, WANTED);
    }
    if mentions(answer, "impl") {
        return error(answer, "an answer has a type with a name");
    }
    if borrows(answer.to_token_stream()) {
        return error(
            answer,
            "an answer borrows nothing: the representative may be another next time",
        );
    }
    Ok(())
}

fn any(tokens: TokenStream, wanted: &impl Fn(&TokenTree) -> bool) -> bool {
    tokens.into_iter().any(|token| match &token {
        TokenTree::Group(group) => any(group.stream(), wanted),
        token => wanted(token),
    })
}

fn mentions(part: &impl ToTokens, word: &str) -> bool {
    any(part.to_token_stream(), &|token| matches!(token, TokenTree::Ident(ident) if ident == word))
}

/// Whether a type has a reference that does not live for ever.
fn borrows(tokens: TokenStream) -> bool {
    let text: Vec<String> = flat(tokens);
    let is_static =
        |at: usize| text.get(at + 1..at + 3).is_some_and(|next| next == ["'", "static"]);
    (0..text.len()).any(|at| text[at] == "&" && !is_static(at))
}

fn flat(tokens: TokenStream) -> Vec<String> {
    let each = |token: TokenTree| match token {
        TokenTree::Group(group) => flat(group.stream()),
        other => vec![other.to_string()],
    };
    tokens.into_iter().flat_map(each).collect()
}

#[cfg(test)]
#[path = "interface_tests.rs"]
mod tests;
