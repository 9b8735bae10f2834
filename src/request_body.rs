//! Request bodies by type: the cache sends a request once more without the body that the first call
//! took, reads the content of a QUERY, and shares no response to content that no key has.
//!
//! Each kind of service has a body type of its own, which need be neither `Default` nor `Clone`. How
//! one is made is found by its type when a request is read by its content, or when a miss calls the
//! inner service; hits of a GET never get here. Knows only body types. Start with [`RequestBodies`].

mod collect;
mod content;
mod has_content;

use std::any::Any;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Empty, Full};

pub(crate) use self::collect::{Collected, collect};
pub(crate) use self::content::AnyBody;
pub use self::content::RequestContent;
use self::has_content::has_content;
use crate::error::BoxError;

/// The functions of one body type that the application adds, or those that are known.
type Functions = Vec<Arc<dyn Any + Send + Sync>>;

/// Functions that make request bodies, by type: those of common types, and those that the
/// application adds.
#[derive(Clone, Default)]
pub(crate) struct RequestBodies {
    empty: Functions,
    conversions: Functions,
}

/// How a body of a type is asked and read by the cache, and made of what was read.
pub(crate) struct Conversion<T> {
    /// Whether it has content, or content that may still come.
    has_content: fn(&T) -> bool,
    pub(crate) read: fn(T) -> AnyBody,
    pub(crate) make: fn(RequestContent) -> T,
}

impl<T: Body> Conversion<T> {
    fn of_body(read: fn(T) -> AnyBody, make: fn(RequestContent) -> T) -> Self {
        let has_content = |body: &T| !body.is_end_stream();
        Self {
            has_content,
            read,
            make,
        }
    }
}

/// How an empty body of a type is made.
pub(crate) enum MakeEmpty<T> {
    Function(fn() -> T),
    OfContent(fn(RequestContent) -> T),
}

impl<T> MakeEmpty<T> {
    pub(crate) fn make(&self) -> T {
        match self {
            Self::Function(make) => make(),
            Self::OfContent(make) => make(RequestContent::empty()),
        }
    }
}

impl<T> Clone for Conversion<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Conversion<T> {}

impl RequestBodies {
    /// Adds the function that makes an empty body of a type, in place of an earlier one.
    pub(crate) fn add_empty<T: 'static>(&mut self, make: fn() -> T) {
        add(&mut self.empty, make);
    }

    /// Adds the function that makes a body of a type from content, in place of an earlier one.
    pub(crate) fn add<T>(&mut self, make: fn(RequestContent) -> T)
    where
        T: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let read = |body: T| body.map_err(Into::into).boxed_unsync();
        add(&mut self.conversions, Conversion::of_body(read, make));
    }

    /// Whether a body is known to have content, or content that may still come.
    pub(crate) fn has_content<T: 'static>(&self, body: &T) -> bool {
        self.ask(body).unwrap_or(false)
    }

    /// A body without the content that it may have. A type that cannot be asked has an empty body in
    /// its place; it stays as it is where no function makes one.
    pub(crate) fn without_content<T: 'static>(&self, body: T) -> T {
        match (self.ask(&body), find::<fn() -> T>(&self.empty)) {
            (None, Some(make)) => make(),
            _ => body,
        }
    }

    /// Whether a body has content, if its type can be asked.
    fn ask<T: 'static>(&self, body: &T) -> Option<bool> {
        match self.conversion::<T>() {
            Some(conversion) => Some((conversion.has_content)(body)),
            None => has_content(body),
        }
    }

    /// How an empty body of a type is made, if that is known.
    pub(crate) fn empty<T: 'static>(&self) -> Option<MakeEmpty<T>> {
        let added = find::<fn() -> T>(&self.empty).copied();
        let of_content = || find::<Conversion<T>>(&self.conversions);
        let function = added.or_else(built_in).map(MakeEmpty::Function);
        function.or_else(|| Some(MakeEmpty::OfContent(of_content()?.make)))
    }

    /// How bodies of a type are converted, if that is known.
    pub(crate) fn conversion<T: 'static>(&self) -> Option<Conversion<T>> {
        let added = find::<Conversion<T>>(&self.conversions).copied();
        added.or_else(built_in_conversion)
    }
}

impl fmt::Debug for RequestBodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBodies")
            .field("empty", &self.empty.len())
            .field("conversions", &self.conversions.len())
            .finish()
    }
}

/// Adds functions, in place of earlier ones of their type.
fn add<F: Send + Sync + 'static>(to: &mut Functions, functions: F) {
    to.retain(|known| !known.is::<F>());
    to.push(Arc::new(functions));
}

/// The functions of a type that were added.
fn find<F: 'static>(added: &Functions) -> Option<&F> {
    added.iter().find_map(|known| known.downcast_ref())
}

/// The function for a common type.
fn built_in<T: 'static>() -> Option<fn() -> T> {
    as_function(|| ())
        .or_else(|| as_function(String::new))
        .or_else(|| as_function(Vec::<u8>::new))
        .or_else(|| as_function(Bytes::new))
        .or_else(|| as_function(Empty::<Bytes>::new))
        .or_else(|| as_function(Full::<Bytes>::default))
        .or_else(boxed::<T, Infallible>)
        .or_else(boxed::<T, BoxError>)
        .or_else(boxed::<T, io::Error>)
        .or_else(of_hyper)
}

/// The function for a boxed body with this error.
fn boxed<T: 'static, E: 'static>() -> Option<fn() -> T> {
    let shared: fn() -> BoxBody<Bytes, E> = || Empty::new().map_err(|never| match never {}).boxed();
    let unshared: fn() -> UnsyncBoxBody<Bytes, E> =
        || Empty::new().map_err(|never| match never {}).boxed_unsync();
    as_function(shared).or_else(|| as_function(unshared))
}

/// The function for a body made of those that hyper's servers receive. Of `Incoming` itself there
/// is no empty one.
#[cfg(feature = "proxy")]
fn of_hyper<T: 'static>() -> Option<fn() -> T> {
    type Received<R> = http_body_util::Either<hyper::body::Incoming, R>;
    let received: fn() -> Received<Empty<Bytes>> = || Received::Right(Empty::new());
    let canonical: fn() -> Received<RequestContent> = || Received::Right(RequestContent::empty());
    as_function(received)
        .or_else(|| as_function(canonical))
        .or_else(boxed::<T, hyper::Error>)
}

#[cfg(not(feature = "proxy"))]
fn of_hyper<T: 'static>() -> Option<fn() -> T> {
    None
}

/// A function, if it makes a `T`.
fn as_function<M: 'static, T: 'static>(make: fn() -> M) -> Option<fn() -> T> {
    (&make as &dyn Any).downcast_ref().copied()
}

/// The conversion of a common type.
fn built_in_conversion<T: 'static>() -> Option<Conversion<T>> {
    let none = Conversion {
        has_content: |()| false,
        read: |()| AnyBody::new(RequestContent::empty()),
        make: |_| (),
    };
    let full = Conversion::of_body(
        |body: Full<Bytes>| body.map_err(|never| match never {}).boxed_unsync(),
        // A body of this type has one frame: nothing is behind the first bytes.
        |content| Full::new(content.into_first_bytes()),
    );
    as_conversion(none)
        .or_else(|| as_conversion(full))
        .or_else(boxed_content::<T, Infallible>)
        .or_else(boxed_content::<T, io::Error>)
        .or_else(boxed_any)
        .or_else(hyper_content)
}

/// The conversion of a boxed body with this error. Errors are those of the body itself.
fn boxed_content<T: 'static, E: Error + Send + Sync + 'static>() -> Option<Conversion<T>> {
    fn own<E: Error + 'static>(error: BoxError) -> E {
        *error
            .downcast()
            .expect("an error of the body that was read")
    }
    let shared = Conversion::<BoxBody<Bytes, E>>::of_body(
        |body| body.map_err(BoxError::from).boxed_unsync(),
        |content| content.map_err(own).boxed(),
    );
    let unshared = Conversion::<UnsyncBoxBody<Bytes, E>>::of_body(
        |body| body.map_err(BoxError::from).boxed_unsync(),
        |content| content.map_err(own).boxed_unsync(),
    );
    as_conversion(shared).or_else(|| as_conversion(unshared))
}

/// The conversion of a boxed body with any error.
fn boxed_any<T: 'static>() -> Option<Conversion<T>> {
    let shared =
        Conversion::<BoxBody<Bytes, BoxError>>::of_body(BodyExt::boxed_unsync, BodyExt::boxed);
    let unshared = Conversion::<AnyBody>::of_body(|body| body, BodyExt::boxed_unsync);
    as_conversion(shared).or_else(|| as_conversion(unshared))
}

/// The conversion of a body made of those that hyper's servers receive.
#[cfg(feature = "proxy")]
fn hyper_content<T: 'static>() -> Option<Conversion<T>> {
    type Canonical = http_body_util::Either<hyper::body::Incoming, RequestContent>;
    let canonical = Conversion::<Canonical>::of_body(|body| body.boxed_unsync(), Canonical::Right);
    as_conversion(canonical).or_else(boxed_content::<T, hyper::Error>)
}

#[cfg(not(feature = "proxy"))]
fn hyper_content<T: 'static>() -> Option<Conversion<T>> {
    None
}

/// A conversion, if it is that of `T`.
fn as_conversion<M: 'static, T: 'static>(conversion: Conversion<M>) -> Option<Conversion<T>> {
    (&conversion as &dyn Any).downcast_ref().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body type that this crate cannot know.
    #[derive(Debug, PartialEq)]
    struct Foreign(u8);

    #[test]
    fn common_types_have_an_empty_body_and_others_only_when_added() {
        let mut bodies = RequestBodies::default();
        fn made<T: 'static>(bodies: &RequestBodies) -> Option<T> {
            bodies.empty().map(|empty| empty.make())
        }
        fn is_empty<T: Body + 'static>(bodies: &RequestBodies) -> bool {
            made::<T>(bodies).is_some_and(|body| body.is_end_stream())
        }
        type Boxed<E> = BoxBody<Bytes, E>;
        type Unsync<E> = UnsyncBoxBody<Bytes, E>;
        assert!(made::<()>(&bodies).is_some());
        assert_eq!(made(&bodies), Some(String::new()));
        assert_eq!(made(&bodies), Some(Vec::<u8>::new()));
        assert_eq!(made(&bodies), Some(Bytes::new()));
        assert!(is_empty::<Full<Bytes>>(&bodies) && is_empty::<Empty<Bytes>>(&bodies));
        assert!(is_empty::<Boxed<Infallible>>(&bodies) && is_empty::<Boxed<BoxError>>(&bodies));
        assert!(is_empty::<Unsync<BoxError>>(&bodies) && is_empty::<Unsync<io::Error>>(&bodies));

        assert!(made::<Foreign>(&bodies).is_none());
        bodies.add_empty(|| Foreign(1));
        bodies.add_empty(|| Foreign(2));
        assert_eq!(made(&bodies), Some(Foreign(2)));
        bodies.add_empty(|| String::from("of the application"));
        assert_eq!(
            made::<String>(&bodies).as_deref(),
            Some("of the application")
        );
    }

    #[test]
    fn types_that_are_known_say_whether_they_have_content_and_others_lose_it() {
        let mut bodies = RequestBodies::default();
        let none = RequestBodies::default();
        assert!(!none.has_content(&()) && !none.has_content(&Bytes::new()));
        assert!(none.has_content(&vec![1_u8]) && none.has_content(&String::from("a")));
        assert!(!none.has_content(&Full::<Bytes>::default()));
        let full = || Full::new(Bytes::from_static(b"a"));
        assert!(none.has_content(&full()));
        let boxed = full().map_err(BoxError::from).boxed_unsync();
        assert!(none.has_content(&boxed));
        assert_eq!(none.without_content(String::from("a")), "a", "it is asked");

        assert!(!none.has_content(&Foreign(7)));
        assert_eq!(none.without_content(Foreign(7)), Foreign(7));
        bodies.add_empty(|| Foreign(0));
        assert_eq!(bodies.without_content(Foreign(7)), Foreign(0));
    }

    #[test]
    fn a_type_whose_bodies_are_made_of_content_has_an_empty_body_too() {
        struct Own(AnyBody);
        impl Body for Own {
            type Data = Bytes;
            type Error = BoxError;

            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
                std::pin::Pin::new(&mut self.0).poll_frame(cx)
            }

            fn is_end_stream(&self) -> bool {
                self.0.is_end_stream()
            }
        }
        let mut bodies = RequestBodies::default();
        assert!(bodies.conversion::<Own>().is_none());
        bodies.add(|content| Own(content.boxed_unsync()));
        let own = |text: &'static str| {
            let content = Full::new(Bytes::from_static(text.as_bytes()));
            Own(content.map_err(BoxError::from).boxed_unsync())
        };
        assert!(bodies.has_content(&own("a")) && !bodies.has_content(&own("")));
        assert!(bodies.conversion::<Own>().is_some() && bodies.empty::<Own>().is_some());
    }
}
