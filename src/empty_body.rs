//! Empty request bodies by type: the cache sends a request once more without the body that the
//! first call took.
//!
//! Each kind of service has a body type of its own, which need be neither `Default` nor `Clone`.
//! An empty one is found by its type when a miss calls the inner service; hits never get here.
//! Knows only body types. Start with [`EmptyBodies::get`].

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Empty, Full};

use crate::error::BoxError;

/// Functions that make empty request bodies, one for each type: those of common types, and those
/// that the application adds.
#[derive(Clone, Default)]
pub(crate) struct EmptyBodies(Vec<Arc<dyn Any + Send + Sync>>);

impl EmptyBodies {
    /// Adds the function for a type, in place of an earlier one.
    pub(crate) fn add<T: 'static>(&mut self, make: fn() -> T) {
        self.0.retain(|known| !known.is::<fn() -> T>());
        self.0.push(Arc::new(make));
    }

    /// The function for a type, if there is one.
    pub(crate) fn get<T: 'static>(&self) -> Option<fn() -> T> {
        let added = self.0.iter().find_map(|known| known.downcast_ref());
        added.copied().or_else(built_in)
    }
}

impl fmt::Debug for EmptyBodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = self.0.len();
        f.debug_struct("EmptyBodies")
            .field("added", &added)
            .finish()
    }
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
    type Received = http_body_util::Either<hyper::body::Incoming, Empty<Bytes>>;
    let received: fn() -> Received = || Received::Right(Empty::new());
    as_function(received).or_else(boxed::<T, hyper::Error>)
}

#[cfg(not(feature = "proxy"))]
fn of_hyper<T: 'static>() -> Option<fn() -> T> {
    None
}

/// A function, if it makes a `T`.
fn as_function<M: 'static, T: 'static>(make: fn() -> M) -> Option<fn() -> T> {
    (&make as &dyn Any).downcast_ref().copied()
}

#[cfg(test)]
mod tests {
    use http_body::Body;

    use super::*;

    /// A body type that this crate cannot know.
    #[derive(Debug, PartialEq)]
    struct Foreign(u8);

    #[test]
    fn common_types_have_an_empty_body_and_others_only_when_added() {
        let mut bodies = EmptyBodies::default();
        assert!(bodies.get::<()>().is_some());
        assert_eq!(
            bodies.get().map(|make: fn() -> String| make()),
            Some(String::new())
        );
        assert_eq!(
            bodies.get().map(|make: fn() -> Vec<u8>| make()),
            Some(Vec::new())
        );
        assert!(bodies.get::<Bytes>().is_some_and(|make| make().is_empty()));
        assert!(
            bodies
                .get::<Full<Bytes>>()
                .is_some_and(|make| make().is_end_stream())
        );
        assert!(
            bodies
                .get::<Empty<Bytes>>()
                .is_some_and(|make| make().is_end_stream())
        );
        type Boxed<E> = BoxBody<Bytes, E>;
        type Unsync<E> = UnsyncBoxBody<Bytes, E>;
        assert!(
            bodies
                .get::<Boxed<Infallible>>()
                .is_some_and(|make| make().is_end_stream())
        );
        assert!(
            bodies
                .get::<Boxed<BoxError>>()
                .is_some_and(|make| make().is_end_stream())
        );
        assert!(
            bodies
                .get::<Unsync<BoxError>>()
                .is_some_and(|make| make().is_end_stream())
        );
        assert!(
            bodies
                .get::<Unsync<io::Error>>()
                .is_some_and(|make| make().is_end_stream())
        );

        assert!(bodies.get::<Foreign>().is_none());
        bodies.add(|| Foreign(1));
        bodies.add(|| Foreign(2));
        assert_eq!(
            bodies.get().map(|make: fn() -> Foreign| make()),
            Some(Foreign(2))
        );
        bodies.add(|| String::from("of the application"));
        assert_eq!(
            bodies.get().map(|make: fn() -> String| make()).as_deref(),
            Some("of the application")
        );
    }
}
